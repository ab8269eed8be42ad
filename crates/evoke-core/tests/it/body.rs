//! Bodies, whole and streamed.

use bytes::Bytes;
use evoke_core::body::{Body, BodyError};
use tokio::sync::mpsc;

fn streamed(chunks: Vec<Result<Bytes, BodyError>>) -> Body {
    let (to, from) = mpsc::channel(chunks.len().max(1));
    chunks.into_iter().for_each(|chunk| to.try_send(chunk).unwrap());
    Body::Stream(from)
}

#[tokio::test]
async fn streamed_chunks_are_collected_in_order() {
    let body = streamed(vec![Ok("ab".into()), Ok("".into()), Ok("c".into())]);
    assert_eq!(body.collect(3).await, Ok("abc".into()));
    assert_eq!(Body::empty().collect(0).await, Ok(Bytes::new()));
}

#[tokio::test]
async fn body_over_the_limit_is_refused() {
    let too_large = Err(BodyError::TooLarge { limit_bytes: 2 });
    assert_eq!(Body::Full("abc".into()).collect(2).await, too_large);
    assert_eq!(streamed(vec![Ok("ab".into()), Ok("c".into())]).collect(2).await, too_large);
}

#[tokio::test]
async fn failure_of_the_sender_ends_the_body() {
    let gone = BodyError::Aborted("connection reset".to_owned());
    assert_eq!(streamed(vec![Ok("ab".into()), Err(gone.clone())]).collect(9).await, Err(gone));
}

#[tokio::test]
async fn whole_body_is_one_chunk() {
    let mut body = Body::Full("abc".into());
    assert_eq!(body.chunk().await, Some(Ok("abc".into())));
    assert_eq!(body.chunk().await, None);
}

#[tokio::test]
async fn only_a_reader_that_leaves_while_a_body_arrives_leaves_the_rest_to_somebody() {
    let (left, mut rests) = mpsc::unbounded_channel();
    let watched = |body: Body| {
        let left = left.clone();
        body.watched(move |rest| left.send(rest).unwrap())
    };
    // Read to its end, not read but all there, and not arriving at all.
    let mut read = watched(streamed(vec![Ok("a".into())]));
    while read.chunk().await.is_some() {}
    drop((read, watched(streamed(vec![Ok("a".into())])), watched(Body::Full("a".into()))));
    assert!(rests.try_recv().is_err());
    let (to, from) = mpsc::channel(2);
    let mut body = watched(Body::Stream(from));
    to.try_send(Ok("a".into())).unwrap();
    to.try_send(Ok("b".into())).unwrap();
    assert_eq!(body.chunk().await, Some(Ok("a".into())));
    drop(body);
    assert_eq!(rests.try_recv().unwrap().recv().await, Some(Ok("b".into())));
}
