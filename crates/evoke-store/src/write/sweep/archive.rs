//! Events that are no longer kept: each type by its age, then the oldest beyond bounds on bytes.
//!
//! What is needed is passed over, and looked at again in the next round, which begins at the front.

use std::collections::{BTreeMap, VecDeque};

use evoke_core::archive::Archive;
use evoke_core::id::{AppName, RunId};
use evoke_core::manifest::TypePattern;

use super::Sweep;
use crate::limit::{SWEEP_LOOKS, SWEEP_ROWS};
use crate::number::{num, us};
use crate::table::archive::{self, EXPIRED, Held};
use crate::table::caused::Expired;
use crate::table::dead::Dead;
use crate::table::log::{self, Old, Which};
use crate::table::pending::Pending;
use crate::table::runs::{self, Run};
use crate::table::{order, requests};
use crate::trouble::Trouble;
use crate::write::tx::{Place, Tx};

/// How much one call may still do.
struct Budget {
    looks: usize,
    gone: usize,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.looks == 0 || self.gone >= SWEEP_ROWS
    }

    fn look(&mut self) {
        self.looks = self.looks.saturating_sub(1);
    }
}

impl Sweep {
    /// How many events went, or lost their data.
    pub(super) fn archive(&self, tx: &mut Tx<'_>) -> Result<usize, Trouble> {
        let mut budget = Budget { looks: SWEEP_LOOKS, gone: 0 };
        self.by_age(tx, &mut budget)?;
        for (app, archive) in &self.keep.archives {
            for (of, bytes) in archive.bounds() {
                self.beyond(tx, app, archive, (of, bytes), &mut budget)?;
            }
        }
        Ok(budget.gone)
    }

    /// Goes on with the type where the last call ended; one round through all types at most.
    fn by_age(&self, tx: &mut Tx<'_>, budget: &mut Budget) -> Result<(), Trouble> {
        let mut place = tx.memory.swept_types;
        while !budget.is_spent() {
            budget.look();
            let Some(row) = Held::from(tx.conn, place.of)? else {
                place = Place::default();
                break;
            };
            if row.id != place.of {
                place = Place { of: row.id, after: 0 };
            }
            match self.of_type(tx, &row, place.after, budget)? {
                Some(after) => place.after = after,
                None => place = Place { of: row.id + 1, after: 0 },
            }
        }
        tx.memory.swept_types = place;
        Ok(())
    }

    /// Where to go on with the type; `None` when its events that are old enough are through.
    fn of_type(
        &self,
        tx: &mut Tx<'_>,
        held: &Held,
        after: i64,
        budget: &mut Budget,
    ) -> Result<Option<i64>, Trouble> {
        let Ok(app) = AppName::new(&held.app) else { return Ok(None) };
        let expired = held.ty == EXPIRED;
        let keep = if expired { self.keep.dedup } else { self.keep.keep(&app, &held.ty) };
        let horizon = us(self.now.before(keep));
        let limit = budget.looks.min(SWEEP_ROWS);
        let rows = Old::after(tx.conn, Which::Type(&held.ty), after, limit)?;
        let all = rows.len() < limit;
        let mut last = after;
        for row in rows {
            if row.accepted_at >= horizon {
                return Ok(None);
            }
            if budget.is_spent() {
                return Ok(Some(last));
            }
            budget.look();
            last = row.seq;
            if row.app != held.app {
                continue;
            }
            let gone = if expired { self.forget(tx, &row)? } else { self.let_go(tx, &app, &row)? };
            budget.gone += usize::from(gone);
        }
        Ok((!all).then_some(last))
    }

    /// The oldest go until the rest is within the bound.
    fn beyond(
        &self,
        tx: &mut Tx<'_>,
        app: &AppName,
        archive: &Archive,
        (of, bound): (Option<&TypePattern>, u64),
        budget: &mut Budget,
    ) -> Result<(), Trouble> {
        let prefix = of.map_or("", |pattern| pattern.0.trim_end_matches('*'));
        let mut types = archive::of_app(tx.conn, app, prefix)?;
        types.retain(|(ty, _)| archive.counts_for(ty, of));
        let counted: i64 = types.iter().map(|(_, bytes)| bytes).sum();
        let came = tx.archived(app.as_str(), |ty| ty != EXPIRED && archive.counts_for(ty, of));
        let mut over = counted + came - i64::try_from(bound).unwrap_or(i64::MAX);
        let key = (app.clone(), of.cloned());
        if over <= 0 {
            tx.memory.swept_bytes.remove(&key);
            return Ok(());
        }
        let after = tx.memory.swept_bytes.get(&key).copied().unwrap_or(0);
        let mut lines = Lines::new(types.into_iter().map(|(ty, _)| ty), after);
        let mut last = None;
        while over > 0 && !budget.is_spent() {
            budget.look();
            let Some(row) = lines.next(tx)? else { break };
            last = Some(row.seq);
            if row.app == app.as_str() && self.let_go(tx, app, &row)? {
                over -= row.bytes;
                budget.gone += 1;
            }
        }
        // What was passed over is looked at again once the end was reached, or the bound.
        match last.filter(|_| over > 0) {
            Some(last) => drop(tx.memory.swept_bytes.insert(key, last)),
            None => drop(tx.memory.swept_bytes.remove(&key)),
        }
        Ok(())
    }

    /// Whether an event that is no longer kept went, or lost its data: not if it is needed, unless that does not matter.
    fn let_go(&self, tx: &mut Tx<'_>, app: &AppName, row: &Old) -> Result<bool, Trouble> {
        let ty = row.ty.as_deref().unwrap_or_default();
        let open = open_runs(tx, row)?;
        if !open.is_empty() || self.keep.holds(app, num(row.seq)) {
            if !self.keep.even_if_needed(app, ty) {
                return Ok(false);
            }
            for n in &open {
                if self.is_leased(tx, *n)? {
                    return Ok(false);
                }
            }
        }
        let gave_up = !open.is_empty();
        if !gave_up && row.accepted_at < us(self.now.before(self.keep.dedup)) {
            row.delete(tx.conn)?;
            tx.archive(&row.app, ty, -1, -row.bytes);
            return Ok(true);
        }
        let accepted = match log::Accepted::read(tx.conn, row.seq) {
            Ok(Some(accepted)) => accepted,
            // A damaged row stays for whoever looks for damage.
            Ok(None) => return Ok(false),
            Err(trouble) if !trouble.fatal => return Ok(false),
            Err(trouble) => return Err(trouble),
        };
        for n in open {
            self.give_up(tx, n)?;
        }
        let left = accepted.expire(tx.conn, Expired { at: us(self.now), gave_up })?;
        tx.archive(&row.app, ty, -1, -row.bytes);
        tx.archive(&row.app, EXPIRED, 1, crate::number::rows(left));
        Ok(true)
    }

    /// Whether what was left of an event went.
    fn forget(&self, tx: &mut Tx<'_>, row: &Old) -> Result<bool, Trouble> {
        let told = |expired: Expired| expired.gave_up && expired.at >= us(self.now.before(self.keep.runs));
        if row.caused().expired.is_some_and(told) {
            return Ok(false);
        }
        row.delete(tx.conn)?;
        tx.archive(&row.app, EXPIRED, -1, -row.bytes);
        Ok(true)
    }

    fn is_leased(&self, tx: &Tx<'_>, n: i64) -> Result<bool, Trouble> {
        Ok(Pending::read(tx.conn, n)?.is_some_and(|row| row.token > 0 && row.at > us(self.now)))
    }

    /// An invocation will never be attempted again; its run says why.
    fn give_up(&self, tx: &mut Tx<'_>, n: i64) -> Result<(), Trouble> {
        let mut run = Run::read(tx.conn, n)?;
        let record = run.change(|record| record.expire(self.now))?;
        run.update(tx.conn)?;
        tx.count_ended(&run)?;
        if let Some(dead) = Dead::read(tx.conn, n)? {
            dead.delete(tx.conn)?;
            if dead.request {
                requests::delete(tx.conn, n)?;
            }
        }
        let Some(row) = Pending::read(tx.conn, n)? else { return Ok(()) };
        row.delete(tx.conn)?;
        if row.request {
            requests::delete(tx.conn, n)?;
        }
        record.key.as_deref().map_or(Ok(()), |key| order::leave(tx, row.queue, &order::key(key), n))
    }
}

/// The events of several types as one line, the oldest first.
struct Lines {
    types: Vec<String>,
    /// The next row of each type, by its position; taken in small batches.
    next: BTreeMap<i64, (usize, Old)>,
    ahead: Vec<VecDeque<Old>>,
    /// Where all begin, until they have.
    begin: Option<i64>,
}

impl Lines {
    /// Of at most so many types as one call may look at.
    fn new(types: impl Iterator<Item = String>, begin: i64) -> Self {
        let types: Vec<String> = types.take(SWEEP_ROWS).collect();
        Self {
            ahead: types.iter().map(|_| VecDeque::new()).collect(),
            types,
            next: BTreeMap::new(),
            begin: Some(begin),
        }
    }

    fn next(&mut self, tx: &Tx<'_>) -> Result<Option<Old>, Trouble> {
        if let Some(begin) = self.begin.take() {
            for line in 0..self.types.len() {
                self.refill(tx, line, begin)?;
            }
        }
        let Some((_, (line, row))) = self.next.pop_first() else { return Ok(None) };
        self.refill(tx, line, row.seq)?;
        Ok(Some(row))
    }

    fn refill(&mut self, tx: &Tx<'_>, line: usize, after: i64) -> Result<(), Trouble> {
        if self.ahead[line].is_empty() {
            let batch = (SWEEP_ROWS / self.types.len()).max(1);
            self.ahead[line] = Old::after(tx.conn, Which::Type(&self.types[line]), after, batch)?.into();
        }
        if let Some(row) = self.ahead[line].pop_front() {
            self.next.insert(row.seq, (line, row));
        }
        Ok(())
    }
}

/// Numbers of the invocations that are neither done nor gone: the event may be their input.
pub(super) fn open_runs(tx: &Tx<'_>, row: &Old) -> Result<Vec<i64>, Trouble> {
    let caused = row.caused();
    let mut open = Vec::new();
    for run in caused.all().map(RunId::as_str) {
        if let Some((n, state, _)) = runs::place(tx.conn, run)?
            && !runs::is_ended(state)
        {
            open.push(n);
        }
    }
    Ok(open)
}
