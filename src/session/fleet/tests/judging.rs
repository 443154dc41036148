//! What its maker still judges is nobody else's yet.

use super::*;

/// A replica that has kept the second generation and waits for the keys, and one that knows nothing.
async fn judging(world: &World, session: &Arc<Session>) -> (Sessions, Sessions) {
    let (maker, other) = (world.replica(), world.replica());
    refresh(&maker, session);
    until("what is kept", || async {
        world.stored(&maker, session.sid).await.filter(|stored| stored.newest == 2)
    })
    .await;
    (maker, other)
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_sees_a_session_first_waits_for_the_judgement() {
    let world = World::new();
    let session = world.session();
    let closed = world.provider.keys.write().await;
    let (maker, other) = judging(&world, &session).await;
    let Admitted::Ticket(ticket) = admit(&other, &cookies(&other, &session)).await else { panic!() };
    assert_eq!(ticket.session.generation, 1);
    let newest = || other.shared().registry.newest(&session.sid).unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!((newest().generation, role(&newest())), (1, "admin"), "it was looked up, and is not judged");
    drop(closed);
    let learnt =
        until("the second generation", || async { Some(newest()).filter(|it| it.generation == 2) }).await;
    assert_eq!(role(&learnt), "user");
    let made = until("its maker", || async { maker.shared().registry.newest(&session.sid) }).await;
    assert_eq!((made.generation, role(&made)), (2, "user"));
    assert_eq!(world.provider.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_opinion_waits_for_the_judgement() {
    let world = World::new();
    let session = world.session();
    // By its cookie it was unused for too long; its maker knows better.
    sleep(Duration::from_secs(3600)).await;
    let closed = world.provider.keys.write().await;
    let (_maker, other) = judging(&world, &session).await;
    let headers = cookies(&other, &session);
    let mut asked = Box::pin(admit(&other, &headers));
    let early = tokio::time::timeout(Duration::from_secs(3), &mut asked).await;
    assert!(early.is_err(), "{early:?}");
    drop(closed);
    let Admitted::Ticket(ticket) = asked.await else { panic!() };
    assert_eq!((ticket.session.generation, role(&ticket.session)), (2, "user"));
    assert_eq!(world.provider.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_opinion_that_does_not_come_in_time_logs_nobody_out() {
    let world = World::new();
    let session = world.session();
    sleep(Duration::from_secs(3600)).await;
    let _closed = world.provider.keys.write().await;
    let (_maker, other) = judging(&world, &session).await;
    let came = admit(&other, &cookies(&other, &session)).await;
    let Admitted::Refused { refused, .. } = came else { panic!("{came:?}") };
    assert!(matches!(refused, crate::session::refresh::record::Refused::StoreUnavailable(_)), "{refused:?}");
}
