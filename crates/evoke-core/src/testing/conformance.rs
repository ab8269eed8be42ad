//! What every back end has to show: one named case per promise of the [`crate::store`] seam, and a model.
//!
//! A back end implements [`Subject`] and writes, in a test module,
//!
//! ```ignore
//! evoke_core::store_conformance!(MySubject::open());
//! ```
//!
//! which makes one `#[tokio::test]` of each case. [`model`] compares long random histories with a model.

pub mod again;
pub mod archive;
pub mod cancel;
pub mod dead_letters;
pub mod erase;
pub mod history;
pub mod keys;
pub mod log;
pub mod model;
pub mod objects;
pub mod order;
pub mod queue;
pub mod retention;
pub mod samples;
pub mod settle;

use std::sync::Arc;

use async_trait::async_trait;

use crate::store::Store;

/// A back end under test, with data of its own that is empty at first.
#[async_trait]
pub trait Subject: Send {
    /// The open store.
    fn store(&self) -> Arc<dyn Store>;

    /// Ends the process that has it open, as far as that can be had inside one process, without closing it first;
    /// and opens the same data again.
    async fn reopen(&mut self);
}

#[async_trait]
impl Subject for Arc<super::store::MemoryStore> {
    fn store(&self) -> Arc<dyn Store> {
        self.clone()
    }

    async fn reopen(&mut self) {
        super::store::MemoryStore::reopen(self);
    }
}

/// Makes a test of each conformance case. The argument is evaluated in each of them, in an async context, and must
/// give a fresh [`Subject`](crate::testing::conformance::Subject).
#[macro_export]
macro_rules! store_conformance {
    ($subject:expr) => {
        $crate::store_conformance! { @cases $subject;
            log: positions_grow_and_answers_keep_the_order, the_same_event_twice_is_one,
                equal_items_of_one_call_are_one, another_source_app_or_id_is_another_event,
                an_append_without_dedup_is_known_by_its_run, an_item_without_invocations_is_kept,
                acknowledged_appends_survive_a_restart, duplicates_are_known_after_a_restart,
                events_are_kept_exactly, requests_are_kept_exactly, many_appends_at_once_all_count;
            again: an_event_is_delivered_again_from_the_log, a_duplicate_is_answered_with_the_first_runs_only,
                repeating_it_changes_nothing, one_that_is_gone_is_passed_over, the_event_stays_for_its_sake,
                a_step_with_its_note_happens_once, what_it_may_not_bring_is_refused, the_log_is_read_forwards;
            queue: nothing_is_leased_before_it_is_due, the_longest_available_come_first,
                queues_are_apart, a_held_lease_is_not_given_again, a_lease_that_ran_out_is_handed_on,
                extending_keeps_a_lease, an_older_token_cannot_extend, due_names_each_queue_once,
                concurrent_leases_never_overlap, leases_of_a_dead_process_end, leasing_nothing_is_nothing;
            order: those_of_a_key_come_one_after_the_other, one_that_waits_again_holds_up_its_key_only,
                a_dead_letter_lets_the_next_go, a_redriven_one_takes_its_turn, the_order_survives_a_restart,
                one_that_was_lost_stays_the_first, subscriptions_have_queues_of_their_own,
                a_batch_is_settled_whole_or_not_at_all, what_waits_is_counted, what_waits_is_told_apart;
            settle: completion_is_final, an_older_token_settles_nothing, effects_come_with_completion,
                a_conflict_leaves_nothing_behind, a_conflict_spares_its_neighbours,
                a_deferred_invocation_waits, a_released_attempt_does_not_count,
                a_synchronous_settlement_needs_no_lease, an_emitted_duplicate_is_recognised,
                the_record_follows_the_verdict, effects_survive_a_restart, a_dead_letter_is_settled_with_what_tells_of_it, malformed_settlements_are_refused;
            dead_letters: a_dead_letter_is_listed_once_with_its_input, a_dead_letter_is_not_leased,
                redriving_starts_afresh, redriving_asks_for_the_right_app, a_purged_one_is_gone_and_its_run_says_so,
                dead_letters_are_paged_newest_first,
                dead_letters_survive_a_restart;
            cancel: what_waits_never_starts, what_waits_to_be_tried_again_is_not,
                a_cancellation_and_a_settlement_exclude_each_other, what_tells_of_it_comes_with_it,
                only_what_is_pending_can_be, the_next_of_its_key_goes;
            keys: what_was_written_is_read, revisions_grow, expectations_are_checked,
                a_batch_is_written_whole_or_not_at_all, writes_of_a_batch_see_each_other,
                entries_expire, an_expired_entry_counts_as_absent, lists_are_sorted_and_bounded,
                odd_keys_are_only_text, spaces_are_apart, watchers_hear_of_writes,
                only_one_of_many_creates_a_key, keys_survive_a_restart;
            objects: an_object_is_found_under_its_digest, an_unknown_object_is_none, objects_survive_a_restart,
                an_object_nothing_refers_to_goes_after_its_time;
            history: runs_are_found_by_each_filter, runs_are_paged_newest_first, a_record_replaces_the_one_before,
                events_are_found_by_each_filter, logs_are_tailed_and_followed, logs_are_found_by_each_filter,
                a_run_in_a_queue_shows_how_far_it_is, a_closed_store_refuses, a_closed_store_kept_everything;
            archive: each_type_has_its_own_time, what_is_needed_stays_however_old_it_is,
                an_event_that_expired_is_recognised_until_duplicates_are_forgotten,
                an_event_that_expired_is_not_delivered_again, what_is_held_stays,
                told_so_it_goes_and_each_run_says_so, a_leased_one_does_not_go_even_so,
                above_its_bytes_the_oldest_go, a_bound_on_bytes_spares_what_is_needed,
                bounds_of_a_type_and_of_the_app_hold_together;
            erase: everything_of_the_app_goes_and_nothing_of_another, what_is_held_is_counted,
                a_lease_of_an_app_that_is_erased_is_no_longer_held, what_comes_afterwards_is_new,
                lines_of_others_keep_their_positions, an_app_without_anything_is_erased_at_once;
            retention: expired_keys_go, forgotten_duplicates_are_new, events_stay_while_they_are_needed,
                ended_runs_go_by_age_and_number, logs_go_by_age_and_number,
                ended_runs_go_by_bytes, logs_go_by_bytes, what_is_asked_for_is_spared_by_bounds, a_fresh_store_has_nothing_to_sweep;
        }
    };
    (@cases $subject:expr; $($module:ident: $($case:ident),+;)+) => {
        $(mod $module {
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                let mut subject = $subject;
                $crate::testing::conformance::$module::$case(&mut subject).await;
            })+
        })+
    };
}
