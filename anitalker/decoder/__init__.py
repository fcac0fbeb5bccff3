"""Motion codes and a portrait -> frames: landmark flow, learned layers, compositing."""
