"""Mining: utilities of coalitions, and Shapley values from them."""
