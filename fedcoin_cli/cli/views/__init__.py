"""What people read in a terminal: lines, tables and screens, and what is asked of them."""
