//! Who may write a task's positions: one holder at a time (invariant 10). Pure.
//!
//! A row of the task holds an epoch, which each new holder counts up, and who it is. The row's time is renewed while the
//! holder lives; by the server's clock it is a lease. Every write of positions reads that row in its own transaction
//! and goes on only if it is still as its holder left it: who has lost the epoch cannot write, however long it slept.

use std::fmt;
use std::time::Duration;

use dt_common::{Error, Result};
use serde_json::{Map, Value};

/// Who holds a task, for messages; and what tells that it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The machine's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// A text that only one process at a time can present, because it holds a lock: whoever presents it again proves that
    /// the one before is gone, and need not wait for its lease. `None` if there is no such lock.
    pub proof: Option<String>,
}

impl Holder {
    /// This process.
    pub fn here(proof: Option<String>) -> Holder {
        let host =
            std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
        let host = host.map(|name| name.trim().to_owned()).unwrap_or_default();
        let host = if host.is_empty() { "an unnamed host".to_owned() } else { host };
        Holder { host, pid: std::process::id(), proof }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// What the fence's row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Counted up by each new holder.
    pub epoch: u64,
    /// Who holds it, or held it last.
    pub holder: Holder,
    /// The holder has left by itself.
    pub released: bool,
}

impl Fence {
    /// The row's `position_data`. The same text each time: a writer finds its row by it.
    pub fn to_json(&self) -> String {
        let Holder { host, pid, proof } = &self.holder;
        // In the order of their names, whichever order serde_json was built to keep.
        let mut json = Map::new();
        let mut put = |name: &str, value: Value| json.insert(name.to_owned(), value);
        put("epoch", self.epoch.into());
        put("host", host.as_str().into());
        put("pid", (*pid).into());
        if let Some(proof) = proof {
            put("proof", proof.as_str().into());
        }
        if self.released {
            put("released", true.into());
        }
        put("type", "Fence".into());
        Value::Object(json).to_string()
    }

    /// What a row says; `None` if it is no fence.
    pub fn from_json(text: &str) -> Option<Fence> {
        let json: Value = serde_json::from_str(text).ok()?;
        let holder = Holder {
            host: json["host"].as_str()?.to_owned(),
            pid: u32::try_from(json["pid"].as_u64()?).ok()?,
            proof: json["proof"].as_str().map(str::to_owned),
        };
        Some(Fence { epoch: json["epoch"].as_u64()?, holder, released: json["released"].as_bool().unwrap_or(false) })
    }
}

/// The fence as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) fence: Fence,
    /// How long ago it was renewed, by the server's clock.
    pub(crate) age: Duration,
}

impl Found {
    /// Who holds it still, and for how long unless it is renewed.
    pub(crate) fn held(&self, lease: Duration) -> Option<(&Holder, Duration)> {
        let left = lease.checked_sub(self.age).filter(|left| !left.is_zero() && !self.fence.released)?;
        Some((&self.fence.holder, left))
    }
}

/// The fence that `me` may put up now.
///
/// # Errors
/// Another holder's lease lives: class user, with the holder, the time that is left and the ways out.
pub(crate) fn next(found: Option<&Found>, me: &Holder, lease: Duration, take_over: bool) -> Result<Fence> {
    let epoch = found.map_or(0, |found| found.fence.epoch) + 1;
    let mine = Fence { epoch, holder: me.clone(), released: false };
    let Some((holder, left)) = found.and_then(|found| found.held(lease)) else { return Ok(mine) };
    let is_gone = me.proof.is_some() && me.proof == holder.proof;
    if is_gone || take_over {
        return Ok(mine);
    }
    Err(Error::user("another process is running this task")
        .with("held by", holder)
        .with("its lease ends in", format!("{} s, unless it is renewed", left.as_secs().max(1)))
        .hint(
            "stop the other one; if it is dead, wait until its lease has ended; to stop it from writing and go on here at \
             once, start with --take-over. Two tasks that only look alike need a [global] task_id each",
        ))
}

#[cfg(test)]
mod tests {
    use dt_common::ErrorClass;

    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn holder(pid: u32, proof: Option<&str>) -> Holder {
        Holder { host: "db1".into(), pid, proof: proof.map(str::to_owned) }
    }

    fn found(age: u64, released: bool) -> Found {
        let fence = Fence { epoch: 4, holder: holder(7, Some("lock-1")), released };
        Found { fence, age: Duration::from_secs(age) }
    }

    #[test]
    fn a_fence_is_the_same_text_each_time_and_reads_back() {
        let fence = found(0, false).fence;
        assert_eq!(fence.to_json(), r#"{"epoch":4,"host":"db1","pid":7,"proof":"lock-1","type":"Fence"}"#);
        for fence in [fence, found(0, true).fence, Fence { epoch: 1, holder: holder(1, None), released: false }] {
            assert_eq!(Fence::from_json(&fence.to_json()), Some(fence));
        }
        assert_eq!(Fence::from_json("{}"), None);
    }

    #[test]
    fn a_living_lease_is_refused_with_holder_time_and_ways_out() {
        let error = next(Some(&found(12, false)), &holder(8, Some("lock-2")), LEASE, false).unwrap_err();
        assert_eq!(error.class(), ErrorClass::User);
        let text = error.to_string();
        for part in ["process 7 on db1", "18 s", "--take-over", "task_id"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn who_is_let_in_counts_the_epoch_up() {
        let me = holder(8, Some("lock-2"));
        let epoch =
            |found: Option<&Found>, me: &Holder, take_over| next(found, me, LEASE, take_over).map(|fence| fence.epoch);
        assert_eq!(epoch(None, &me, false).unwrap(), 1);
        assert_eq!(epoch(Some(&found(30, false)), &me, false).unwrap(), 5, "its lease has ended");
        assert_eq!(epoch(Some(&found(0, true)), &me, false).unwrap(), 5, "it was released");
        assert_eq!(epoch(Some(&found(0, false)), &me, true).unwrap(), 5, "it is taken over");
        assert_eq!(epoch(Some(&found(0, false)), &holder(8, Some("lock-1")), false).unwrap(), 5, "it is proven gone");
        assert!(epoch(Some(&found(0, false)), &holder(7, None), false).is_err(), "a process id proves nothing");
    }
}
