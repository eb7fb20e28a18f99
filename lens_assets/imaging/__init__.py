"""Stamps: their store, the one preprocessing, quality and features, and the training set made of them."""
