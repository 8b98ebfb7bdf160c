//! What every store backend must do.
//!
//! A backend gives a [`StoreFixture`]; [`store_suite!`](crate::store_suite) then makes one test of
//! each case, each on an empty store of its own. Cases speak of times near the store's own, because a
//! real one forgets by its own clock.

mod claims;
mod dead;
mod fold;
mod forgetting;
mod index;
mod leases;
mod lines;
mod live;
pub mod names;
mod pressure;
pub mod sample;
mod silence;
mod standing;
mod support;
mod turns;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::FutureExt as _;
use jiff::Timestamp;

pub use claims::*;
pub use dead::*;
pub use fold::*;
pub use forgetting::*;
pub use index::*;
pub use leases::*;
pub use lines::*;
pub use live::*;
pub use pressure::*;
pub use silence::*;
pub use standing::*;
pub use turns::*;

use crate::{partition::Partition, store::FoldStore};

/// What a backend gives to the suite: one empty store for one case.
#[async_trait]
pub trait StoreFixture: Sized + Send + Sync {
    /// Makes an empty store, for the case of this name. `None` when there is no store here; the
    /// fixture has said so, or has failed the test if it must be there.
    async fn set_up(case: &str) -> Option<Self>;

    /// Returns the store; every call returns the same.
    fn store(&self) -> Arc<dyn FoldStore>;

    /// Tells the time by which the store forgets.
    fn now(&self) -> Timestamp;

    /// Lets time pass.
    async fn pass(&self, time: Duration);

    /// Forgets everything.
    async fn flush(&self);

    /// Returns the entries of a partition that could not be merged, oldest first.
    async fn bad(&self, partition: Partition) -> Vec<(u64, String)>;

    /// Removes the store. Called after failed cases too.
    async fn tear_down(self) {}
}

/// Runs one case on a store of its own.
///
/// # Panics
///
/// When the case does, after the fixture was torn down.
pub async fn run<F: StoreFixture>(name: &str, case: impl AsyncFnOnce(&F)) {
    let Some(fixture) = F::set_up(name).await else {
        return;
    };
    let outcome = AssertUnwindSafe(case(&fixture)).catch_unwind().await;
    fixture.tear_down().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Makes one test of each case of the suite.
///
/// Takes the fixture and the attributes of each test: `store_suite!(Fixture, #[tokio::test]);`
#[macro_export]
macro_rules! store_suite {
    ($fixture:ty, $(#[$attribute:meta])+) => {
        $crate::store_suite! { @each $fixture, [$(#[$attribute])+],
            folding_gives_what_the_merge_gives
            folding_again_changes_nothing
            a_batch_is_written_only_where_it_belongs
            batches_are_independent
            an_empty_batch_moves_the_position
            a_voided_position_is_the_first_entry
            a_flushed_store_starts_at_the_first_entry
            marks_are_kept_for_an_hour
            marks_from_the_future_are_forgotten
            a_partition_says_since_when_it_has_no_gap
            the_oldest_entry_is_remembered
            what_cannot_be_merged_is_kept_in_a_bounded_list
            a_written_ahead_job_is_read_at_once
            the_copy_in_the_log_finds_its_place
            writing_ahead_again_changes_nothing
            a_late_write_ahead_does_not_move_state_back
            a_wish_to_cancel_decides_no_state
            many_records_come_in_the_order_asked
            an_absent_job_has_a_partition
            a_history_is_in_log_order_and_bounded
            a_message_is_in_the_history_once
            a_story_is_record_partition_and_history
            a_record_is_forgotten_when_its_winner_says
            nobody_speaks_for_another_project_or_kind
            what_has_expired_is_skipped
            an_expired_end_forgets_the_record
            an_undecided_record_is_forgotten_too
            a_list_is_newest_first_and_paged
            a_list_is_oldest_first_where_that_is_asked
            ties_are_paged_by_id
            projects_are_apart
            unlisted_lines_are_gone
            the_fold_fills_the_index
            a_tick_touches_its_own_live_run
            the_newest_tick_wins
            overdue_jobs_come_earliest_first
            a_job_that_nobody_has_started_in_time_is_overdue
            an_ended_job_is_not_overdue
            a_forgotten_job_is_not_overdue
            a_redriven_job_is_live_again
            silent_jobs_are_paged_longest_silence_first
            what_is_said_of_a_live_job_ends_its_silence
            a_kept_alone_gives_the_record
            the_oldest_ends_make_room
            a_shortened_job_that_runs_again_is_kept
            fullness_is_told_for_each_partition
            a_dead_job_is_listed_until_it_runs_again
            dead_jobs_are_paged_newest_first
            a_forgotten_job_is_not_dead
            the_list_of_dead_jobs_is_bounded
            lines_are_kept_once_and_in_order
            only_the_newest_lines_are_kept
            lines_belong_to_the_run
            lines_of_a_job_that_has_just_ended_are_taken
            lines_are_forgotten_with_the_record
            a_run_is_taken_once
            a_run_is_forgotten
            a_claim_returns_the_first_value
            claims_of_projects_are_apart
            a_key_has_one_holder
            what_was_not_published_leaves
            a_run_that_was_entered_again_stays
            an_end_frees_the_key
            an_end_belongs_to_its_epoch
            what_was_made_keeps_the_key_until_it_is_freed
            a_holder_is_released_as_it_was_seen
            a_rebuilt_standing_has_all_holders
            who_frees_what_was_made_enters
            who_waits_for_its_turn_enters_beside_live_holders
            a_line_is_in_the_order_of_the_log
            a_place_in_line_is_the_earliest_that_is_known
            an_end_that_cannot_be_moves_nobody
            a_line_has_the_newest_mark_before_it
            a_run_stands_at_all_its_keys
            an_ended_run_is_in_no_line_again
            a_step_is_taken_only_where_it_belongs
            active_runs_are_limited
            a_run_ends_by_itself
            submissions_are_limited_by_a_rate
            one_reader_holds_all
            two_readers_share_evenly
            three_readers_share_evenly
            a_dead_readers_partitions_are_taken_over
            released_partitions_are_free
            the_store_answers
            the_store_tells_the_time
        }
    };
    (@each $fixture:ty, $attributes:tt, $($case:ident)*) => {
        $($crate::store_suite! { @one $fixture, $attributes, $case })*
    };
    (@one $fixture:ty, [$(#[$attribute:meta])+], $case:ident) => {
        $(#[$attribute])+
        async fn $case() {
            $crate::testing::store::run::<$fixture>(
                stringify!($case),
                $crate::testing::store::$case,
            )
            .await;
        }
    };
}
