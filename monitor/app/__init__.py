"""The composition root: builds and wires everything, handles signals, stops in order."""
