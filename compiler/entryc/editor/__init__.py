"""What an editor asks of a text that may be half-typed: what is declared where, what stands at a place, what could stand there."""
