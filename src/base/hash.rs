//! Hex, base64 and digest helpers shared by several floors.
