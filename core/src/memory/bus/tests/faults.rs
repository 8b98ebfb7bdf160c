use super::*;
use crate::{
    bus::{BusState, Feed, LogStart},
    memory::bus::ConfirmFailure,
    testing::bus::eventually,
};

#[tokio::test(start_paused = true)]
async fn a_spoiled_confirm_does_not_spoil_the_message() {
    let (broker, bus) = broker(Limits::default()).await;
    bus.admin.declare_queue(&queue("work")).await.unwrap();
    broker.fail_next_confirms(2, ConfirmFailure::Timeout);
    for body in ["0", "1"] {
        let error = publish(&bus, "work", body).await.unwrap_err();
        assert!(matches!(error, PublishError::Timeout(_)), "{error:?}");
        assert!(error.outcome_unknown());
    }
    publish(&bus, "work", "2").await.unwrap();
    assert_eq!(drain(&bus, "work").await, ["0", "1", "2"]);
    broker.fail_next_confirms(1, ConfirmFailure::Lost);
    let error = publish(&bus, "work", "3").await.unwrap_err();
    assert!(matches!(error, PublishError::Lost(_)), "{error:?}");
    broker.fail_next_confirms(1, ConfirmFailure::Nacked);
    let error = publish(&bus, "work", "4").await.unwrap_err();
    assert!(matches!(error, PublishError::Nacked), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_is_not_there_is_told() {
    let (_broker, bus) = broker(Limits::default()).await;
    let stray = Message {
        exchange: "none".to_owned(),
        ..message("work", "stray")
    };
    let error = bus.publisher.publish(stray).await.unwrap_err();
    assert!(matches!(error, PublishError::Returned(_)), "{error:?}");
    let queue = QueueSpec {
        bindings: vec![bound("none", "#")],
        ..queue("work")
    };
    assert!(bus.admin.declare_queue(&queue).await.is_err());
    assert_eq!(bus.admin.inspect("work").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_shut_down_broker_ends_every_stream() {
    let (broker, bus) = broker(Limits::default()).await;
    let mut deliveries = bus.consumer.consume("work", 1).await.unwrap();
    let mut feed = bus.consumer.subscribe(Feed::Ticks, "me").await.unwrap();
    let mut reader = bus.log.read(LogStart::First).await.unwrap();
    let all = async { tokio::join!(deliveries.next(), feed.next(), reader.next_batch(1)) };
    let (ends, ()) = tokio::join!(patiently("end", all), async { broker.shutdown() });
    assert!(ends.0.is_none());
    assert!(ends.1.is_none());
    assert!(ends.2.is_err());
    assert!(matches!(bus.publisher.state(), BusState::Down(_)));
    broker.set_down(false);
    assert!(matches!(bus.publisher.state(), BusState::Down(_)));
}

#[tokio::test(start_paused = true)]
async fn the_timer_ends_with_the_broker() {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let (broker, bus) = broker(Limits::default()).await;
    let feed = bus.consumer.subscribe(Feed::Ticks, "me").await.unwrap();
    drop(feed);
    assert_eq!(tasks(), before + 1);
    drop((broker, bus));
    eventually("end of the timer", async || {
        (tasks() == before).then_some(())
    })
    .await;
}

#[test]
fn a_broker_may_outlive_the_runtime_of_its_timer() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let spec = QueueSpec {
        message_ttl: Some(Duration::from_secs(1)),
        dead_letter_exchange: Some("jobs.dlx".to_owned()),
        ..queue("work")
    };
    let (_broker, bus) = runtime().block_on(async {
        let (broker, bus) = broker(Limits::default()).await;
        bus.admin.declare_queue(&spec).await.unwrap();
        publish(&bus, "work", "0").await.unwrap();
        (broker, bus)
    });
    let dead = runtime().block_on(async {
        publish(&bus, "work", "1").await.unwrap();
        drain(&bus, QUEUE_DEAD).await
    });
    assert!(dead.contains(&"1".to_owned()), "{dead:?}");
}
