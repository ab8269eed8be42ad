//! Whatever dies, nothing stays behind: not the process, nor what it started, nor a zombie.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use evoke_core::manifest::Preload;
use evoke_core::runtime::{Input, Runtime};
use rustix::process::{Pid, Signal};

use crate::support::*;

/// Starts a process in a session of its own that starts another, both deaf to SIGTERM, and tells all process ids.
const BROOD: &str = "
import os, subprocess, sys
BROOD = '''
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
if sys.argv[1] == 'child':
    inner = subprocess.Popen([sys.executable, '-c', sys.stdin.read(), 'grandchild'], stdin=subprocess.DEVNULL)
    print(os.getpid(), inner.pid, flush=True)
while True: time.sleep(1000)
'''
def handler(event, context):
    child = subprocess.Popen([sys.executable, '-c', BROOD, 'child'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child.stdin.write(BROOD)
    child.stdin.close()
    pids = [os.getpid(), *map(int, child.stdout.readline().split())]
    # One more, whose parent goes away at once.
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
            os.close(write)
            import time
            while True: time.sleep(1000)
        os._exit(0)
    os.close(write)
    pids.append(int(os.read(read, 100)))
    return [os.readlink('/proc/self/ns/pid'), pids]
";

fn alive(pids: &[i32]) -> Vec<i32> {
    pids.iter().copied().filter(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()).collect()
}

pub fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(1)?.parse().ok()
}

fn all_pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What processes are called here that call themselves `inside` in the pid namespace `namespace`.
pub fn outside(namespace: &str, inside: &[i32]) -> Vec<i32> {
    let name_inside = |pid: i32| -> Option<i32> {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let names = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        (link.to_str() == Some(namespace)).then(|| names.split_whitespace().last()?.parse().ok())?
    };
    let all: Vec<(i32, i32)> = all_pids().filter_map(|pid| Some((name_inside(pid)?, pid))).collect();
    let find = |wanted: &i32| all.iter().find(|(inside, _)| inside == wanted).map(|(_, pid)| *pid);
    inside.iter().map(|pid| find(pid).expect("the process is there")).collect()
}

fn pids(outcome: &Outcome) -> Vec<i32> {
    let (namespace, inside): (String, Vec<i32>) = serde_json::from_value(outcome.answer().json()).unwrap();
    outside(&namespace, &inside)
}

fn comm(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Everything that the launcher of this process has started.
pub fn descendants_of_launcher() -> BTreeSet<i32> {
    let mut all = descendants(std::process::id() as i32);
    all.retain(|&pid| parent(pid) != Some(std::process::id() as i32));
    all
}

pub fn descendants(of: i32) -> BTreeSet<i32> {
    let mut found = BTreeSet::from([of]);
    loop {
        let before = found.len();
        for pid in all_pids() {
            if parent(pid).is_some_and(|parent| found.contains(&parent)) {
                found.insert(pid);
            }
        }
        if found.len() == before {
            found.remove(&of);
            return found;
        }
    }
}

async fn brood(guest: &mut Guest) -> Vec<i32> {
    let pids = pids(&guest.get("/").await);
    assert_eq!(pids.len(), 4);
    assert_eq!(alive(&pids), pids);
    pids
}

#[tokio::test]
async fn a_dropped_instance_takes_its_descendants_along() {
    let host = Host::start().await;
    let mut guest = host.guest(&[("main.py", BROOD)]).await;
    let pids = brood(&mut guest).await;
    drop(guest);
    until(|| alive(&pids).is_empty()).await;
}

#[tokio::test]
async fn an_instance_that_is_killed_takes_its_descendants_along_and_no_others() {
    let host = Host::start().await;
    let spec = host.prepare(&[("main.py", BROOD)]).await.unwrap();
    let (mut one, mut two) =
        (host.start_spec(spec.clone()).await.unwrap(), host.start_spec(spec).await.unwrap());
    let (first, second) = (brood(&mut one).await, brood(&mut two).await);
    rustix::process::kill_process(Pid::from_raw(first[0]).unwrap(), Signal::KILL).unwrap();
    one.instance.gone().await;
    assert!(!one.instance.is_usable());
    until(|| alive(&first).is_empty()).await;
    assert_eq!(alive(&second), second);
    assert!(two.instance.is_usable());
}

/// Hears nothing any more, says what is left to say, and stays.
const DEAF: &str = "
import os, socket, threading, time
def handler(event, context):
    socket.socket(fileno=os.dup(3)).shutdown(socket.SHUT_RD)
    threading.Thread(target=time.sleep, args=(1000,)).start()
    os._exit = lambda code: time.sleep(1000)
    return [os.readlink('/proc/self/ns/pid'), os.getpid()]
";

/// With one thread: whoever tells it again and again to stop keeps everybody else from noticing that it has.
#[tokio::test]
async fn an_instance_that_hears_nothing_any_more_is_ended_all_the_same() {
    let host = Host::start().await;
    let mut guest = host.guest(&[("main.py", DEAF)]).await;
    let told = guest.get("/").await.answer().json();
    let (namespace, pid) = (told[0].as_str().unwrap().to_owned(), told[1].as_i64().unwrap() as i32);
    drop(guest);
    until(|| !lives(&namespace, pid)).await;
}

#[tokio::test]
async fn an_instance_that_timed_out_takes_its_descendants_along() {
    let host = Host::start().await;
    let source = format!(
        "{BROOD}\nmake = handler\ndef handler(event, context):\n    namespace, pids = make(event, context)
    print(namespace, *pids)\n    while True: pass\n"
    );
    let mut guest = host.guest(&[("main.py", &source)]).await;
    let outcome = guest.run(Input::Request(post("/", "")), ENOUGH, no_platform()).await;
    let (namespace, inside) = outcome.logs[0].1.split_once(' ').unwrap();
    let inside: Vec<i32> = inside.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(inside.len(), 4);
    until(|| !inside.iter().any(|&pid| lives(namespace, pid))).await;
}

#[tokio::test]
async fn shutdown_leaves_nothing() {
    let host = Host::start().await;
    let mut guest = host.guest(&[("main.py", BROOD)]).await;
    let pids = brood(&mut guest).await;
    host.runtime.shutdown().await;
    assert_eq!(alive(&pids), [] as [i32; 0]);
    assert!(!guest.instance.is_usable());
    let me = std::process::id() as i32;
    until(|| descendants(me).is_empty()).await;
}

#[tokio::test]
async fn a_launcher_that_dies_takes_the_instances_along_and_is_started_again() {
    let host = Host::start().await;
    let mut spec = host
        .prepare(&[(
            "main.py",
            "import os\ndef handler(e, c): return [os.readlink('/proc/self/ns/pid'), [os.getpid()]]\n",
        )])
        .await
        .unwrap();
    spec.preload = Preload::None;
    let mut guest = host.start_spec(spec.clone()).await.unwrap();
    let mut pids = pids(&guest.get("/").await);
    let me = std::process::id() as i32;
    while parent(pids[pids.len() - 1]) != Some(me) {
        pids.push(parent(pids[pids.len() - 1]).unwrap());
    }
    let launcher = pids.pop().unwrap();
    assert!(!pids.is_empty());
    rustix::process::kill_process(Pid::from_raw(launcher).unwrap(), Signal::KILL).unwrap();
    guest.instance.gone().await;
    assert!(!guest.instance.is_usable());
    until(|| alive(&pids).is_empty()).await;
    let mut guest = host.start_spec(spec).await.unwrap();
    assert!(guest.get("/").await.response.is_some());
}

#[tokio::test]
async fn a_launcher_that_dies_takes_zygotes_and_their_instances_along() {
    let host = Host::start().await;
    let mut guest = host.guest(&[("main.py", "def handler(event, context): pass\n")]).await;
    // Launcher, zygote, instance, and a process 1 where there is a namespace.
    let all: Vec<i32> = descendants(std::process::id() as i32).into_iter().collect();
    assert!(all.len() >= 3, "{all:?}");
    let launcher = all.iter().copied().find(|&pid| comm(pid) == "evoke-launcher").unwrap();
    rustix::process::kill_process(Pid::from_raw(launcher).unwrap(), Signal::KILL).unwrap();
    guest.instance.gone().await;
    assert!(!guest.instance.is_usable());
    until(|| alive(&all).is_empty()).await;
}

/// Not a test: the host that [`a_killed_host_leaves_nothing`] kills. Prints the process ids of an instance's brood.
#[tokio::test]
#[ignore = "run by another test, as a process of its own"]
async fn victim() {
    let host = Host::start().await;
    let mut guest = host.guest(&[("main.py", BROOD)]).await;
    let pids = brood(&mut guest).await;
    // In the middle of a call.
    println!("\npids {pids:?} dir {}", host.dir.path().display());
    let (call, mut reports) = call(Input::Request(post("/", "")), Duration::from_secs(1000));
    let _ = tokio::join!(guest.instance.call(call), async { while reports.recv().await.is_some() {} });
    std::future::pending::<()>().await;
}

struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_killed_host_leaves_nothing() {
    use std::io::{BufRead, BufReader};
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "orphans::victim", "--ignored", "--nocapture"]).stdout(Stdio::piped());
    let mut victim = Victim(command.spawn().unwrap());
    let output = BufReader::new(victim.0.stdout.take().unwrap());
    let line = output.lines().map(Result::unwrap).find(|line| line.starts_with("pids ")).unwrap();
    let (pids, dir) = line.strip_prefix("pids ").unwrap().split_once(" dir ").unwrap();
    let told: Vec<i32> = serde_json::from_str(pids).unwrap();
    let mut all: Vec<i32> = descendants(victim.0.id() as i32).into_iter().collect();
    assert!(
        all.len() >= 5 && told.iter().all(|pid| all.contains(pid)),
        "launcher, instance and brood: {all:?} {told:?}"
    );
    all.retain(|&pid| pid > 0);
    victim.0.kill().unwrap();
    victim.0.wait().unwrap();
    until(|| alive(&all).is_empty()).await;
    std::fs::remove_dir_all(dir).unwrap();
}
