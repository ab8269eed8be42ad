//! Accepting work.

use evoke_core::id::RunId;
use evoke_core::store::{Append, Appended, NewInvocation};
use evoke_core::time::Timestamp;

use super::Work;
use super::tx::Tx;
use crate::number::{int, num, rows, us};
use crate::table::pending::Pending;
use crate::table::{log, order, requests, runs, seen};
use crate::trouble::{Stop, Trouble};

/// Items, encoded on the caller's thread.
pub(crate) struct Accept(pub Vec<Item>);

/// One thing to accept.
pub(crate) struct Item {
    entry: log::New,
    /// The position of the event, when it is delivered again.
    again: Option<i64>,
    invocations: Vec<Invocation>,
}

struct Invocation {
    run: runs::Encoded,
    due_at: i64,
    request: Option<requests::Encoded>,
}

impl Item {
    pub fn encode(item: &Append, now: Timestamp) -> Self {
        let invocation = |new: &NewInvocation| {
            let mut run = new.run.clone();
            run.wait(new.due_at);
            Invocation {
                run: runs::Encoded::new(&run),
                due_at: us(new.due_at),
                request: new.request.as_ref().map(requests::Encoded::new),
            }
        };
        Self {
            entry: log::New::encode(item, now),
            again: item.again.map(int),
            invocations: item.invocations.iter().map(invocation).collect(),
        }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let request = |new: &Invocation| new.request.as_ref().map_or(0, requests::Encoded::size);
        self.entry.size() + self.invocations.iter().map(|new| new.run.size() + request(new)).sum::<usize>()
    }

    /// Stores it, or says what the first of its kind was.
    pub fn run(&self, tx: &mut Tx<'_>) -> Result<Appended, Trouble> {
        if let Some(first) = self.known_by_run(tx)? {
            return Ok(first);
        }
        if let Some(seq) = self.again {
            return self.deliver_again(tx, seq);
        }
        let seq = tx.counters.last + 1;
        let mut keys = Vec::new();
        if let Some(key) = &self.entry.dedup {
            if let Some(first) = self.claim(tx, key, seq)? {
                return Ok(first);
            }
            keys.extend_from_slice(key);
        }
        if let Some(id) = &self.entry.id {
            let key = seen::key_of_event(id, seq);
            seen::claim(tx.conn, &key, seq)?;
            keys.extend_from_slice(&key);
        }
        tx.counters.last = seq;
        self.entry.insert(tx.conn, seq, &keys)?;
        if let (Some(ty), Some(event)) = (&self.entry.ty, &self.entry.event) {
            tx.archive(self.entry.app.as_str(), ty, 1, rows(event.len()));
        }
        for invocation in &self.invocations {
            invocation.enqueue(tx, seq)?;
        }
        Ok(Appended { seq: num(seq), duplicate: false, runs: self.entry.runs.clone() })
    }

    /// Adds to what an event caused that is in the log already.
    fn deliver_again(&self, tx: &mut Tx<'_>, seq: i64) -> Result<Appended, Trouble> {
        let found = log::Accepted::read(tx.conn, seq)?.filter(log::Accepted::is_kept);
        let Some(mut accepted) = found else {
            return Ok(Appended { seq: num(seq), duplicate: false, runs: Vec::new() });
        };
        let mut caused = accepted.caused()?;
        caused.again.extend(self.entry.runs.iter().cloned());
        accepted.cause(tx.conn, &caused)?;
        for invocation in &self.invocations {
            invocation.enqueue(tx, seq)?;
        }
        Ok(Appended { seq: num(seq), duplicate: false, runs: self.entry.runs.clone() })
    }

    fn known_by_run(&self, tx: &Tx<'_>) -> Result<Option<Appended>, Trouble> {
        for run in &self.entry.runs {
            if let Some((_, _, seq)) = runs::place(tx.conn, run.as_str())? {
                return Ok(Some(first(tx, seq, run)?));
            }
        }
        Ok(None)
    }

    /// Claims the de-duplication key, unless it is held by something that is still remembered.
    fn claim(&self, tx: &Tx<'_>, key: &seen::Key, seq: i64) -> Result<Option<Appended>, Trouble> {
        let Some(taken) = seen::claim(tx.conn, key, seq)? else { return Ok(None) };
        let accepted = log::Accepted::read(tx.conn, taken)?;
        // `seen` has no checksum of its own: what it says is true if the row it points at says so too.
        let Some(accepted) = accepted.filter(|accepted| accepted.has_key(key)) else {
            return Err(Trouble::corrupt("seen", format_args!("{:032x}", u128::from_be_bytes(*key))));
        };
        if accepted.accepted_at >= tx.counters.forgotten_before {
            return Ok(Some(Appended { seq: num(taken), duplicate: true, runs: accepted.caused()?.runs }));
        }
        seen::reclaim(tx.conn, key, seq)?;
        Ok(None)
    }
}

/// The answer to a duplicate of which only a run may be left.
fn first(tx: &Tx<'_>, seq: i64, run: &RunId) -> Result<Appended, Trouble> {
    let runs = match log::Accepted::read(tx.conn, seq)? {
        Some(accepted) => accepted.caused()?.runs,
        None => vec![run.clone()],
    };
    Ok(Appended { seq: num(seq), duplicate: true, runs })
}

impl Invocation {
    fn enqueue(&self, tx: &mut Tx<'_>, seq: i64) -> Result<(), Trouble> {
        let n = tx.counters.next();
        let of = tx.queue(&self.run.queue)?;
        self.run.insert(tx.conn, n, of, seq)?;
        let queue = tx.queue(&self.run.waits_in)?;
        let at = match &self.run.key {
            Some(key) => order::join(tx, queue, key, n, self.due_at)?,
            None => self.due_at,
        };
        let request = self.request.is_some();
        Pending { n, queue, at, attempts: 0, token: 0, leased_at: 0, request }.insert(tx.conn)?;
        self.request.as_ref().map_or(Ok(()), |request| request.insert(tx.conn, n))
    }
}

impl Work for Accept {
    type Answer = Vec<Appended>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Appended>, Stop> {
        self.0.iter().map(|item| item.run(tx).map_err(Stop::from)).collect()
    }
}
