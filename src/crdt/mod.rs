//! A document's history on diamond-types, behind a wall.
