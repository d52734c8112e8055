"""sktime estimators over the library: one store's series, and a panel of stores."""
