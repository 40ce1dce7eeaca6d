//! What the README shows is what is built.

#[test]
fn the_microcontroller_example_is_the_file_that_is_built() {
    let readme = include_str!("../README.md");
    let source = include_str!("../examples/microcontroller/src/main.rs");
    let (_, shown) = readme.split_once("```rust,ignore\n").expect("the example");
    let (shown, _) = shown.split_once("```").expect("its end");
    assert_eq!(shown, source);
}
