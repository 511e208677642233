"""Reading rows in the formats that people have."""
