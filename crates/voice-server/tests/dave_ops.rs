//! Lists of operations on a call of two: those that are known, and random ones.

mod common;

use common::ops;
use proptest::prelude::*;

#[test]
#[ignore = "says what happens in a list of operations, which OPS names a file of"]
fn tell() {
    ops::tell(&std::fs::read(std::env::var_os("OPS").expect("OPS names a file")).expect("a file"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_list_of_operations_leads_to_members_who_hear_each_other(
        bytes in proptest::collection::vec(any::<u8>(), 0..96),
    ) {
        ops::run(&bytes);
    }
}
