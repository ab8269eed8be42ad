//! Many apps, kinds and floods at one hall, in time that passes only when nobody has anything to do.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn app(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

fn node(running: usize) -> Limits {
    Limits { running, ..Limits::default() }
}

fn terms(concurrency: usize) -> Terms {
    Terms { concurrency, per_instance: 1, instance_bytes: 1, kept: 0, waiting_max: 10_000 }
}

fn visitor(kind: Kind) -> Visitor {
    Visitor { kind, inner: None, patience: Instant::now() + 1_000 * S, deadline: None, bytes: 0 }
}

/// Milliseconds of attempts, by whom.
#[derive(Default, Clone)]
struct Had(Arc<Mutex<BTreeMap<&'static str, u128>>>);

impl Had {
    fn note(&self, who: &'static str, time: Duration) {
        *self.0.lock().entry(who).or_default() += time.as_millis();
    }

    fn of(&self, who: &str) -> f64 {
        self.0.lock().get(who).copied().unwrap_or_default() as f64
    }
}

/// Clients of whom each asks again as soon as it was answered.
struct Crowd {
    hall: Arc<Hall>,
    clients: JoinSet<()>,
    had: Had,
}

impl Crowd {
    fn new(limits: &Limits) -> Self {
        Self { hall: Hall::new(limits), clients: JoinSet::new(), had: Had::default() }
    }

    fn flood(&mut self, who: &'static str, door: &Arc<Door>, kind: Kind, clients: usize, takes: Duration) {
        for _ in 0..clients {
            let (door, had) = (door.clone(), self.had.clone());
            self.clients.spawn(async move {
                loop {
                    if let Ok(permit) = door.enter(visitor(kind)).await {
                        sleep(takes).await;
                        drop(permit);
                        had.note(who, takes);
                    }
                }
            });
        }
    }

    /// Runs for so long; nothing is left then.
    async fn run(mut self, time: Duration) -> Had {
        sleep(time).await;
        self.clients.shutdown().await;
        assert_eq!(self.hall.count(), (0, 0));
        self.had
    }
}

#[track_caller]
fn assert_ratio(a: f64, b: f64, wanted: f64) {
    let ratio = a / b;
    assert!((ratio / wanted - 1.0).abs() < 0.1, "{a} to {b} is {ratio}, not {wanted}");
}

#[tokio::test(start_paused = true)]
async fn apps_get_time_by_their_weights_however_many_functions_clients_or_long_calls_they_have() {
    let mut crowd = Crowd::new(&node(8));
    for nth in 0..20 {
        let door = crowd.hall.door(&app("many"), terms(50));
        crowd.flood("many", &door, Kind::Sync, 20, (10 + nth) * MS);
    }
    let door = crowd.hall.door(&app("long"), terms(50));
    crowd.flood("long", &door, Kind::Sync, 20, 2 * S);
    let door = crowd.hall.door(&app("heavy"), terms(50));
    crowd.hall.share(&app("heavy"), &Share { weight: 20, ..Share::default() });
    crowd.flood("heavy", &door, Kind::Event, 50, 100 * MS);
    let had = crowd.run(600 * S).await;
    assert_ratio(had.of("long"), had.of("many"), 1.0);
    assert_ratio(had.of("heavy"), had.of("many"), 2.0);
    // Nothing of the node was left unused.
    assert_ratio(had.of("long") + had.of("many") + had.of("heavy"), 8.0 * 600_000.0, 1.0);
}

#[tokio::test(start_paused = true)]
async fn who_is_alone_has_everything_and_who_comes_late_neither_waits_for_it_nor_makes_up_for_it() {
    let mut crowd = Crowd::new(&node(10));
    let a = crowd.hall.door(&app("a"), terms(100));
    let b = crowd.hall.door(&app("b"), terms(100));
    crowd.flood("a", &a, Kind::Sync, 500, 20 * MS);
    sleep(100 * S).await;
    assert_ratio(crowd.had.of("a"), 10.0 * 100_000.0, 1.0);
    let since = Instant::now();
    drop(b.enter(visitor(Kind::Sync)).await.unwrap());
    assert!(since.elapsed() <= 20 * MS, "{:?}", since.elapsed());
    let before = crowd.had.of("a");
    let had = crowd.had.clone();
    crowd.flood("b", &b, Kind::Sync, 500, 20 * MS);
    crowd.run(100 * S).await;
    assert_ratio(had.of("a") - before, had.of("b"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn kinds_share_a_function_and_an_app_by_their_weights_and_none_starves() {
    // At one function whose own bound is what is scarce, …
    let mut one = Crowd::new(&node(1_000));
    let door = one.hall.door(&app("a"), terms(4));
    let other = one.hall.door(&app("a"), terms(100));
    one.flood("beside", &other, Kind::Sync, 50, 20 * MS);
    // … and at many, of which most have a backlog of jobs, where the node is.
    let mut many = Crowd::new(&node(4));
    for (crowd, doors) in [(&mut one, 1), (&mut many, 30)] {
        for nth in 0..doors {
            let door = if doors == 1 { door.clone() } else { crowd.hall.door(&app("a"), terms(100)) };
            crowd.flood("job", &door, Kind::Job, 20, 50 * MS);
            if nth == 0 {
                crowd.flood("sync", &door, Kind::Sync, 40, 20 * MS);
                crowd.flood("event", &door, Kind::Event, 40, 30 * MS);
            }
        }
    }
    drop((door, other));
    let (one, many) = tokio::join!(one.run(300 * S), many.run(300 * S));
    assert_ratio(one.of("sync"), one.of("job"), 4.0);
    assert_ratio(one.of("event"), one.of("job"), 2.0);
    assert!(many.of("sync") > many.of("job"), "{} {}", many.of("sync"), many.of("job"));
    assert!(many.of("job") > 0.1 * 4.0 * 300_000.0, "{}", many.of("job"));
}

#[tokio::test(start_paused = true)]
async fn an_app_has_no_more_than_its_own_bounds_while_others_go_on() {
    let mut crowd = Crowd::new(&node(10));
    let (a, b) = (crowd.hall.door(&app("a"), terms(100)), crowd.hall.door(&app("b"), terms(100)));
    let bounded =
        Share { concurrency: Some(2), waiting: Some(30), waiting_bytes: Some(50), ..Share::default() };
    crowd.hall.share(&app("a"), &bounded);
    crowd.flood("a", &a, Kind::Sync, 20, 10 * MS);
    crowd.flood("b", &b, Kind::Sync, 50, 10 * MS);
    sleep(S).await;
    let Err(Refused::Full(full)) = a.enter(Visitor { bytes: 51, ..visitor(Kind::Sync) }).await else {
        panic!("it was let in")
    };
    assert_eq!(full.bound, Bound::AppWaitingBytes(50));
    let had = crowd.run(100 * S).await;
    assert_ratio(had.of("a"), 2.0 * 101_000.0, 1.0);
    assert_ratio(had.of("b"), 8.0 * 101_000.0, 1.0);
}

#[tokio::test(start_paused = true)]
async fn functions_that_call_each_other_come_to_an_end_on_a_full_node() {
    let hall = Hall::new(&Limits { instances: 16, ..Limits::default() });
    let doors: Vec<_> = (0..3).map(|_| hall.door(&app("a"), terms(100))).collect();
    let mut calls = JoinSet::new();
    // Tells the hall that there are such calls, as the first of a server's life does.
    drop(doors[1].enter(Visitor { inner: Some(1), ..visitor(Kind::Sync) }).await.unwrap());
    for _ in 0..200 {
        let doors = doors.clone();
        calls.spawn(async move {
            let outer = doors[0].enter(visitor(Kind::Sync)).await.unwrap();
            sleep(10 * MS).await;
            let inner = doors[1].enter(Visitor { inner: Some(1), ..visitor(Kind::Sync) }).await.unwrap();
            sleep(10 * MS).await;
            let innermost = doors[2].enter(Visitor { inner: Some(2), ..visitor(Kind::Sync) }).await.unwrap();
            sleep(10 * MS).await;
            drop((outer, inner, innermost));
        });
    }
    let all = tokio::time::timeout(30 * S, calls.join_all()).await;
    assert!(all.is_ok(), "{:?}", hall.count());
    assert_eq!(hall.count(), (0, 0));
}

/// Arrivals at a fixed pace for `time`, whether or not they are answered: how long those that were let in waited, how many
/// were refused, after the first two seconds.
async fn stream(
    door: &Arc<Door>,
    every: Duration,
    time: Duration,
    takes: Duration,
) -> (Vec<Duration>, usize) {
    let begin = Instant::now();
    let mut calls = JoinSet::new();
    let mut at = begin;
    while at < begin + time {
        tokio::time::sleep_until(at).await;
        at += every;
        let door = door.clone();
        calls.spawn(async move {
            let since = Instant::now();
            let entered = door.enter(Visitor { patience: since + 10 * S, ..visitor(Kind::Sync) }).await;
            let waited = entered.as_ref().map(|_| since.elapsed()).ok();
            if entered.is_ok() {
                sleep(takes).await;
            }
            (since - begin >= 2 * S).then_some(waited)
        });
    }
    let all: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    let mut waited: Vec<Duration> = all.iter().flatten().copied().collect();
    waited.sort_unstable();
    (waited, all.iter().filter(|waited| waited.is_none()).count())
}

#[tokio::test(start_paused = true)]
async fn at_ten_times_the_load_who_is_let_in_waits_no_longer_than_an_attempt_takes_twice() {
    let hall = Hall::new(&Limits::default());
    let door = hall.door(&app("a"), terms(10));
    let takes = 100 * MS;
    let (waited, refused) = stream(&door, MS, 20 * S, takes).await;
    let p99 = waited[waited.len() * 99 / 100];
    assert!(p99 <= 2 * takes, "{p99:?}");
    // As many as can be: a hundred a second, of a thousand.
    assert!(waited.len() >= 1_700, "{}", waited.len());
    assert!(refused >= 15_000, "{refused}");
    // And when it is over nobody is refused.
    let (waited, refused) = stream(&door, 11 * MS, 10 * S, takes).await;
    assert_eq!((refused, waited.last() < Some(&takes)), (0, true), "{waited:?}");
    assert_eq!(hall.count(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_can_be_worked_off_is() {
    let hall = Hall::new(&Limits::default());
    let door = hall.door(&app("a"), terms(10));
    let calls = (0..900).map(|_| async {
        let permit = door.enter(Visitor { patience: Instant::now() + 10 * S, ..visitor(Kind::Sync) }).await?;
        sleep(100 * MS).await;
        drop(permit);
        Ok::<_, Refused>(())
    });
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_or_has_too_little_time_is_told_at_once_and_when_to_come_again() {
    let hall = Hall::new(&Limits::default());
    let door = hall.door(&app("a"), terms(1));
    for _ in 0..10 {
        let permit = door.enter(visitor(Kind::Sync)).await.unwrap();
        sleep(S).await;
        drop(permit);
    }
    let begin = Instant::now();
    let patient = |s: u32| Visitor { patience: begin + s * S, ..visitor(Kind::Sync) };
    let hurried = Visitor { deadline: Some(begin + 500 * MS), ..patient(10) };
    assert!(matches!(door.enter(hurried).await, Err(Refused::TooLate { .. })));
    let inside = door.enter(patient(10)).await.unwrap();
    let mut line = JoinSet::new();
    for _ in 0..3 {
        let (door, patient) = (door.clone(), patient(10));
        line.spawn(async move { door.enter(patient).await.map(drop) });
    }
    tokio::task::yield_now().await;
    let Err(Refused::Full(full)) = door.enter(patient(3)).await else { panic!("it was let in") };
    assert_eq!((full.bound, full.waiting, begin.elapsed()), (Bound::Concurrency(1), 3, Duration::ZERO));
    let again = full.again.unwrap();
    assert!(again >= 3 * S && again <= 6 * S, "{again:?}");
    drop(inside);
    drop(door);
    assert!(line.join_all().await.iter().all(Result::is_ok));
    assert_eq!(hall.count(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_node_is_saturated_while_calls_wait_for_it_and_ready_a_while_after() {
    let mut crowd = Crowd::new(&node(2));
    let door = crowd.hall.door(&app("a"), terms(100));
    let narrow = crowd.hall.door(&app("b"), terms(1));
    crowd.flood("b", &narrow, Kind::Sync, 10, 10 * MS);
    sleep(5 * S).await;
    assert_eq!(crowd.hall.saturated(), None, "a function that is full is no concern of the node");
    crowd.flood("a", &door, Kind::Sync, 20, 10 * MS);
    sleep(900 * MS).await;
    assert_eq!(crowd.hall.saturated(), None);
    sleep(200 * MS).await;
    assert!(crowd.hall.saturated().is_some());
    crowd.clients.shutdown().await;
    sleep(1_900 * MS).await;
    assert!(crowd.hall.saturated().is_some());
    sleep(200 * MS).await;
    assert_eq!(crowd.hall.saturated(), None);
}

#[tokio::test(start_paused = true)]
async fn one_more_than_may_wait_is_refused_and_who_waits_is_sent_on_when_the_door_closes() {
    let hall = Hall::new(&Limits::default());
    let door = hall.door(&app("a"), Terms { waiting_max: 1, ..terms(1) });
    let inside = door.enter(visitor(Kind::Sync)).await.unwrap();
    let mut line = JoinSet::new();
    for kind in [Kind::Sync, Kind::Event] {
        let door = door.clone();
        line.spawn(async move { door.enter(visitor(kind)).await.map(drop) });
    }
    tokio::task::yield_now().await;
    let Err(Refused::Full(full)) = door.enter(visitor(Kind::Sync)).await else { panic!("it was let in") };
    assert_eq!((full.bound, full.waiting), (Bound::Waiting(1), 1));
    door.close();
    assert!(line.join_all().await.iter().all(|end| matches!(end, Err(Refused::Closed))));
    assert!(matches!(door.enter(visitor(Kind::Sync)).await, Err(Refused::Closed)));
    assert!(door.enter_many(Kind::Job, 5).await.is_none());
    drop(inside);
    assert_eq!(hall.count(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn queued_work_takes_many_at_once_but_only_its_part_while_others_wait() {
    let hall = Hall::new(&node(6));
    let (a, b) = (hall.door(&app("a"), terms(100)), hall.door(&app("b"), terms(100)));
    let all = a.enter_many(Kind::Event, 64).await.unwrap();
    assert_eq!(all.len(), 6);
    let mut waiting = JoinSet::new();
    for door in [a.clone(), b.clone()] {
        waiting.spawn(async move { door.enter_many(Kind::Event, 64).await.unwrap() });
    }
    tokio::task::yield_now().await;
    drop(all);
    let granted: Vec<usize> = waiting.join_all().await.iter().map(Vec::len).collect();
    assert!(granted.iter().sum::<usize>() <= 6 && granted.iter().all(|granted| *granted >= 1), "{granted:?}");
    assert_eq!(hall.count(), (0, 0));
}

/// Something that happens at a hall of three apps with two doors each.
#[derive(Debug, Clone)]
enum Step {
    Come { door: usize, kind: usize, inner: Option<usize>, patience_ms: u64, takes_ms: u64, bytes: u64 },
    Many { door: usize, max: usize, takes_ms: u64 },
    Abandon(usize),
    Pass(u64),
    Close(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let come = (
        0..6_usize,
        0..3_usize,
        proptest::option::weighted(0.2, 1..4_usize),
        0..300_u64,
        0..200_u64,
        0..40_u64,
    );
    let come = come.prop_map(|(door, kind, inner, patience_ms, takes_ms, bytes)| Step::Come {
        door,
        kind,
        inner,
        patience_ms,
        takes_ms,
        bytes,
    });
    let many = (0..6_usize, 1..8_usize, 0..200_u64);
    prop_oneof![
        12 => come,
        3 => many.prop_map(|(door, max, takes_ms)| Step::Many { door, max, takes_ms }),
        2 => (0..64_usize).prop_map(Step::Abandon),
        4 => (0..80_u64).prop_map(Step::Pass),
        1 => (0..6_usize).prop_map(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_bound_is_passed_nobody_waits_beside_free_room_and_nothing_is_left(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(steps));
    }
}

const NODE: usize = 5;
const APP: usize = 3;

async fn play(steps: Vec<Step>) {
    let limits = Limits { running: NODE, waiting_calls_all: 8, waiting_bytes: 100, ..Limits::default() };
    let hall = Hall::new(&limits);
    let new = |nth: usize| {
        let name = app(["a", "b", "c"][nth / 2]);
        let door = hall.door(&name, Terms { waiting_max: 4, ..terms(1 + nth % 2 * 2) });
        hall.share(
            &name,
            &Share { concurrency: Some(APP as u32), weight: 1 + nth as u32, ..Share::default() },
        );
        door
    };
    let mut doors: Vec<_> = (0..6).map(new).collect();
    let mut tasks: Vec<(JoinSet<()>, bool)> = Vec::new();
    for step in steps {
        match step {
            Step::Come { door, kind, inner, patience_ms, takes_ms, bytes } => {
                let kind = if inner.is_some() { Kind::Sync } else { Kind::ALL[kind] };
                let patience = Instant::now() + Duration::from_millis(patience_ms);
                let visitor = Visitor { kind, inner, patience, deadline: None, bytes };
                let door = doors[door].clone();
                let call = async move {
                    if let Ok(_permit) = door.enter(visitor).await {
                        sleep(Duration::from_millis(takes_ms)).await;
                    }
                };
                tasks.push((JoinSet::from_iter([call]), inner.is_some()));
            }
            Step::Many { door, max, takes_ms } => {
                let door = doors[door].clone();
                let call = async move {
                    if let Some(_permits) = door.enter_many(Kind::Job, max).await {
                        sleep(Duration::from_millis(takes_ms)).await;
                    }
                };
                tasks.push((JoinSet::from_iter([call]), false));
            }
            Step::Abandon(nth) if !tasks.is_empty() => {
                let nth = nth % tasks.len();
                tasks.swap_remove(nth).0.shutdown().await;
            }
            Step::Abandon(_) => {}
            Step::Pass(ms) => sleep(Duration::from_millis(ms)).await,
            Step::Close(nth) => {
                doors[nth].close();
                doors[nth] = new(nth);
            }
        }
        tokio::task::yield_now().await;
        check(&hall, tasks.iter().any(|(_, inner)| *inner));
    }
    sleep(100 * S).await;
    assert_eq!(hall.count(), (0, 0), "everybody has left");
    drop(doors);
    tasks.clear();
    assert_eq!(hall.state.lock().doors.len(), 0);
}

fn check(hall: &Hall, inner: bool) {
    let state = hall.state.lock();
    assert!(state.waiting <= 8 && state.waiting_bytes <= 100);
    let running: usize = state.doors.iter().map(|(_, door)| door.running).sum();
    assert_eq!(running, state.room.running);
    for (_, door) in &state.doors {
        assert!(door.running <= door.terms.concurrency && door.waiting_calls() <= 4);
    }
    // Calls of functions by functions are not bounded by app and node, as what made them holds a place already.
    if !inner {
        assert!(running <= NODE, "{running}");
        assert!(state.running_of_apps().all(|running| running <= APP));
    }
    assert_eq!(state.could_be_let_in(), None, "it waits, and there is room");
}
