//! Data that is made at deploy.

use crate::host::Worker;

#[test]
fn each_instance_starts_with_what_was_made_at_deploy_and_changes_nothing_for_others() {
    let mut worker = Worker::start();
    let mut function = worker.function("preloaded");
    for n in [7, 300, 99_999_u32] {
        assert_eq!(function.get(&format!("/{n}")).text(), format!("Some({}) of 100000", n.wrapping_mul(n)));
    }
}
