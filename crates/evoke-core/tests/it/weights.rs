//! Weighted choices: shares, and who moves when weights do.

use evoke_core::weights::{Point, VARIANTS_MAX, WEIGHT_MAX, Weights, WeightsError};
use proptest::prelude::*;

/// Names `v0`, `v1` … with these weights.
fn weights(weights: &[u32]) -> Weights {
    let names: Vec<String> = (0..weights.len()).map(|at| format!("v{at}")).collect();
    Weights::new(names.iter().map(String::as_str).zip(weights.iter().copied())).unwrap()
}

fn point(client: u32) -> Point {
    Point::of("shop/greeting", format!("client-{client}").as_bytes())
}

fn some_weights() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..=1_000_u32, 1..=6).prop_filter("a sum", |list| list.iter().any(|w| *w > 0))
}

#[test]
fn shares_converge_to_the_weights() {
    const CLIENTS: u32 = 50_000;
    for list in [&[50, 50][..], &[90, 10], &[1, 99, 0], &[5, 15, 30, 50], &[999, 1]] {
        let weights = weights(list);
        // By keys, and by numbers that follow each other, which are the worst that a generator could give.
        for point in [point as fn(u32) -> Point, |client| Point(u64::from(client))] {
            let mut counts = vec![0_u32; list.len()];
            (0..CLIENTS).for_each(|client| counts[weights.choose(point(client))] += 1);
            for (count, share) in counts.iter().zip(weights.shares()) {
                let (found, wanted) = (f64::from(*count), share * f64::from(CLIENTS));
                // Five standard deviations of a binomial distribution.
                let wide = 5.0 * (wanted * (1.0 - share)).sqrt();
                assert!((found - wanted).abs() <= wide, "{list:?}: {counts:?}");
            }
        }
    }
}

#[test]
fn raising_a_weight_moves_no_more_clients_than_its_share_grew_by() {
    const CLIENTS: u32 = 100_000;
    let (before, after) = (weights(&[90, 10]), weights(&[75, 25]));
    let moved = (0..CLIENTS).filter(|client| before.choose(point(*client)) != after.choose(point(*client)));
    let moved = moved.count() as f64 / f64::from(CLIENTS);
    assert!((moved - 0.15).abs() < 0.006, "{moved}");
}

#[test]
fn two_scopes_are_independent() {
    const CLIENTS: u32 = 100_000;
    let weights = weights(&[50, 50]);
    let both = (0..CLIENTS).filter(|client| {
        let key = client.to_be_bytes();
        weights.choose(Point::of("a", &key)) == 1 && weights.choose(Point::of("b", &key)) == 1
    });
    let both = both.count() as f64 / f64::from(CLIENTS);
    assert!((both - 0.25).abs() < 0.008, "{both}");
}

#[test]
fn what_a_client_has_never_changes_between_versions() {
    let weights = Weights::new([("old", 70), ("new", 20), ("other", 10)]).unwrap();
    let chosen: String = (0..40).map(|client| weights.choose(point(client)).to_string()).collect();
    insta::assert_snapshot!(chosen, @"1000102000120000001010000000020000000000");
}

#[test]
fn what_could_never_be_chosen_is_refused() {
    assert_eq!(Weights::new([]), Err(WeightsError::NoWeight));
    assert_eq!(Weights::new([("a", 0), ("b", 0)]), Err(WeightsError::NoWeight));
    assert_eq!(Weights::new([("a", 1), ("a", 2)]), Err(WeightsError::Twice { name: "a".to_owned() }));
    let heavy = WeightsError::TooHeavy { name: "a".to_owned(), weight: WEIGHT_MAX + 1 };
    assert_eq!(Weights::new([("a", WEIGHT_MAX + 1)]), Err(heavy));
    let names: Vec<String> = (0..=VARIANTS_MAX).map(|at| at.to_string()).collect();
    assert_eq!(Weights::new(names.iter().map(|name| (name.as_str(), 1))), Err(WeightsError::TooMany));
}

proptest! {
    #[test]
    fn the_same_key_has_the_same_variant_in_whatever_order_they_stand(
        list in some_weights(), client in any::<u32>(), turn in 0..6_usize,
    ) {
        let named: Vec<(String, u32)> = list.iter().enumerate().map(|(at, w)| (format!("v{at}"), *w)).collect();
        let mut turned = named.clone();
        turned.rotate_left(turn % list.len());
        let choose = |named: &[(String, u32)]| {
            let weights = Weights::new(named.iter().map(|(name, weight)| (name.as_str(), *weight))).unwrap();
            named[weights.choose(point(client))].0.clone()
        };
        prop_assert_eq!(choose(&named), choose(&turned));
    }

    #[test]
    fn raising_one_weight_never_moves_a_key_between_two_others(
        list in some_weights(), at in 0..6_usize, by in 1..5_000_u32, point in any::<u64>(),
    ) {
        let at = at % list.len();
        let mut raised = list.clone();
        raised[at] += by;
        let (before, after) = (weights(&list).choose(Point(point)), weights(&raised).choose(Point(point)));
        prop_assert!(after == before || after == at, "{before} became {after}");
    }

    #[test]
    fn a_new_variant_only_takes(list in some_weights(), weight in 1..5_000_u32, point in any::<u64>()) {
        let mut more = list.clone();
        more.push(weight);
        let (before, after) = (weights(&list).choose(Point(point)), weights(&more).choose(Point(point)));
        prop_assert!(after == before || after == list.len());
    }

    #[test]
    fn what_has_no_weight_is_never_chosen(list in some_weights(), point in any::<u64>()) {
        prop_assert!(list[weights(&list).choose(Point(point))] > 0);
    }

    #[test]
    fn only_how_weights_compare_counts(list in some_weights(), factor in 1..100_u32, point in any::<u64>()) {
        let more: Vec<u32> = list.iter().map(|weight| weight * factor).collect();
        prop_assert_eq!(weights(&list).choose(Point(point)), weights(&more).choose(Point(point)));
    }
}
