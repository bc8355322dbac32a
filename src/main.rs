//! The confab server binary.

fn main() {}
