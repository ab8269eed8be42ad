//! Choosing among what the store lists newest first by what it cannot look up, page after page and within a bound.

use evoke_core::store::StoreError;

/// How much is done for one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Chosen at most.
    pub limit: usize,
    /// Looked at, at most.
    pub looks: usize,
    /// Read at once.
    pub page: usize,
}

/// Reads pages with `read(before, count)`, each from before the `place` of the last of the page before, until enough is chosen,
/// everything was looked at, or the bounds are reached. The second value is where to go on, if there may be more.
pub(crate) async fn choose<T, P, Read>(
    bounds: Bounds,
    before: Option<P>,
    mut read: impl FnMut(Option<P>, usize) -> Read,
    place: impl Fn(&T) -> P,
    takes: impl Fn(&T) -> bool,
) -> Result<(Vec<T>, Option<P>), StoreError>
where
    P: Clone,
    Read: Future<Output = Result<Vec<T>, StoreError>>,
{
    let (mut chosen, mut last, mut looked) = (Vec::new(), before, 0);
    loop {
        let count = bounds.page.min(bounds.looks - looked);
        let page = read(last.clone(), count).await?;
        looked += page.len();
        let is_last = page.len() < count;
        for one in page {
            if chosen.len() == bounds.limit {
                return Ok((chosen, last));
            }
            last = Some(place(&one));
            if takes(&one) {
                chosen.push(one);
            }
        }
        if is_last {
            return Ok((chosen, None));
        }
        if looked >= bounds.looks {
            return Ok((chosen, last));
        }
        tokio::task::yield_now().await;
    }
}
