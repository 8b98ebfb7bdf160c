//! What every bus backend must do.
//!
//! A backend gives a [`BusFixture`]; [`bus_suite!`](crate::bus_suite) then makes one test of each
//! case. Every case gets a broker of its own (for RabbitMQ: a fresh vhost), because the names of the
//! exchanges are constants. A case waits for conditions, with the patience of [`patience`]; it
//! never counts on a message being there at once unless a confirm promised it.

mod admin;
mod clock;
mod dead_letters;
mod delays;
mod faults;
mod feeds;
mod journal;
mod log;
mod routing;
mod settling;
mod support;

use std::{panic::AssertUnwindSafe, time::Duration};

use async_trait::async_trait;
use futures::FutureExt as _;
use jiff::Timestamp;

pub use admin::*;
pub use clock::TokioClock;
pub use dead_letters::*;
pub use delays::*;
pub use faults::*;
pub use feeds::*;
pub use journal::{Failure, InMemoryJournal, assert_kept};
pub use log::*;
pub use routing::*;
pub use settling::*;
pub use support::{eventually, patience, patiently};

use crate::bus::Bus;

/// What a backend gives to the suite: one empty broker for one case.
#[async_trait]
pub trait BusFixture: Sized + Send + Sync {
    /// Makes a broker with nothing declared, for the case of this name. `None` when there is no
    /// broker here; the fixture has said so, or has failed the test if it must be there.
    async fn set_up(case: &str) -> Option<Self>;

    /// Returns the bus; every call returns the same.
    fn bus(&self) -> Bus;

    /// Tells the time of the broker, to read the log from a time.
    fn now(&self) -> Timestamp;

    /// Says whether an entry of the log has the whole trace of its deaths. A backend that drops it
    /// there still tells a first death that nothing can have followed, without its time.
    fn log_keeps_traces(&self) -> bool {
        true
    }

    /// Lets time pass.
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Breaks every connection of the bus once, as a restarted broker does; the bus comes back by
    /// itself. False when the fixture cannot, and then the case ends.
    async fn break_connections(&self) -> bool {
        false
    }

    /// Makes the broker block publishers, or stop doing so. False when the fixture cannot, and then
    /// the case ends.
    async fn set_blocked(&self, blocked: bool) -> bool {
        let _ = blocked;
        false
    }

    /// Takes the broker away, or brings it back with all that it held. False when the fixture
    /// cannot, and then the case ends.
    async fn set_down(&self, down: bool) -> bool {
        let _ = down;
        false
    }

    /// Removes the broker. Called after failed cases too.
    async fn tear_down(self) {}
}

/// Runs one case on a broker of its own.
///
/// # Panics
///
/// When the case does, after the fixture was torn down.
pub async fn run<F: BusFixture>(name: &str, case: impl AsyncFnOnce(&F)) {
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
/// Takes the fixture and the attributes of each test:
/// `bus_suite!(InMemoryFixture, #[tokio::test(start_paused = true)]);`
#[macro_export]
macro_rules! bus_suite {
    ($fixture:ty, $(#[$attribute:meta])+) => {
        $crate::bus_suite! { @each $fixture, [$(#[$attribute])+],
            a_topic_routes_by_pattern
            two_bindings_make_one_copy
            a_command_arrives_as_it_was_published
            a_confirm_means_that_every_queue_has_it
            a_command_without_queue_is_only_in_the_log
            a_message_that_nothing_holds_is_not_confirmed
            a_full_queue_nacks_what_the_log_has
            a_full_queue_opens_again
            a_full_and_a_missing_queue_hold_up_nobody
            prefetch_counts_what_is_not_settled
            consumers_share_a_queue
            an_ack_removes_the_message
            a_requeue_delivers_again_and_counts
            a_requeued_message_keeps_its_place
            a_dropped_delivery_is_delivered_again
            a_dropped_consumer_gives_everything_back
            a_stopped_consumer_keeps_what_is_in_hand
            a_consumer_waits_for_its_queue
            a_rejected_message_is_dead_lettered
            a_look_at_the_dead_takes_nothing_away
            the_delivery_limit_gives_six_starts
            a_vanished_consumer_counts_for_the_limit
            a_dead_letter_does_not_look_like_a_command
            a_tier_delays_and_changes_nothing
            a_longer_delay_holds_up_no_shorter_one
            the_log_has_a_delayed_command_once
            the_newest_death_is_told
            a_delayed_command_without_queue_is_parked
            a_full_and_a_missing_queue_do_not_stop_a_tier
            the_log_has_everything_in_order
            the_log_keeps_what_is_acked
            reading_from_an_offset_includes_it
            reading_ahead_gives_nothing_old
            reading_from_a_time_misses_nothing
            reading_from_next_skips_the_past
            every_reader_sees_everything
            a_mark_lies_behind_what_was_confirmed_before
            waiting_for_a_batch_can_be_cancelled
            a_missing_log_is_told
            every_subscriber_gets_each_tick_once
            every_subscriber_gets_each_control_once
            feeds_do_not_touch_the_log
            a_feed_without_subscribers_is_no_error
            a_slow_subscriber_loses_the_oldest
            inspect_counts_ready_messages_and_consumers
            a_missing_queue_is_none
            declaring_twice_changes_nothing
            drift_names_the_queue_and_the_argument
            drift_names_the_exchange
            deleting_a_queue_takes_its_messages
            a_lost_delivery_says_so_and_comes_again
            a_reader_of_the_log_ends_with_its_connection
            a_feed_outlives_its_connection
            an_attachment_says_whether_anything_can_come
            a_blocked_publisher_is_told
            an_absent_broker_is_told_and_waited_for
        }
    };
    (@each $fixture:ty, $attributes:tt, $($case:ident)*) => {
        $($crate::bus_suite! { @one $fixture, $attributes, $case })*
    };
    (@one $fixture:ty, [$(#[$attribute:meta])+], $case:ident) => {
        $(#[$attribute])+
        async fn $case() {
            $crate::testing::bus::run::<$fixture>(
                stringify!($case),
                $crate::testing::bus::$case,
            )
            .await;
        }
    };
}
