"""The data set's formats: Kaggle's files in, made-up sales of the same shape out."""
