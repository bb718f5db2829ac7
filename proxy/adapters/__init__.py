"""One upstream language each: how a request is put and how its answer is read."""
