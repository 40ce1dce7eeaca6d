//! What the README shows is what is built.

use std::fs;
use std::path::Path;

#[test]
fn the_microcontroller_example_is_the_file_that_is_built() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/microcontroller");
    // A packaged crate has no other package in it.
    if !example.exists() {
        return;
    }
    let source = fs::read_to_string(example.join("src/main.rs")).expect("the example");
    let (_, shown) = include_str!("../README.md").split_once("```rust,ignore\n").expect("the example");
    let (shown, _) = shown.split_once("```").expect("its end");
    assert_eq!(shown, source);
}
