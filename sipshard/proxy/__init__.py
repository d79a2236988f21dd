"""The transaction user of a worker: asks policy what to do, and does it with the engine."""
