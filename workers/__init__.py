"""What leaves the building: claims due messages, makes them, hands them over, and writes down what became of them."""
