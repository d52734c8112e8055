"""What-ifs, and plans that adopt them."""
