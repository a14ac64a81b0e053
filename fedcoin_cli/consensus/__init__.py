"""What miners agree on and how: pure machines and exact arithmetic, without sockets, clocks or arrays."""
