//! What an instance sees of the machine and of other instances.

use std::collections::BTreeSet;

use evoke_core::runtime::Input;

use crate::support::*;

#[tokio::test]
async fn the_environment_is_the_functions_own() {
    let host = Host::start().await;
    for case in [
        (
            "main.mjs",
            "export default { fetch: (r, env) => Response.json([Object.keys(process.env).sort(), Object.keys(env).sort()]) };",
        ),
        ("main.py", "import os\ndef handler(e, c): return [sorted(os.environ), []]\n"),
    ] {
        let told = host.guest(&[case]).await.get("/").await.answer().json();
        let names: BTreeSet<&str> =
            told[0].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let expected = [
            "COLOUR",
            "EVOKE_API",
            "EVOKE_APP",
            "EVOKE_FUNCTION",
            "EVOKE_REVISION",
            "HOME",
            "LANG",
            "PATH",
            "TMPDIR",
            "TZ",
        ];
        // CPython sets this one by itself where the locale makes it.
        let names: Vec<_> = names.into_iter().filter(|name| *name != "LC_CTYPE").collect();
        assert_eq!(names, expected, "{}", case.0);
        if case.0 == "main.mjs" {
            assert_eq!(told[1], serde_json::json!(["COLOUR", "EVENTS", "FUNCTIONS", "KV"]));
        }
    }
}

#[tokio::test]
async fn no_file_of_the_host_is_open() {
    let host = Host::start().await;
    // A leaked descriptor that is not close-on-exec.
    let leaked = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let host2 = Host::start().await;
    for host in [&host, &host2] {
        let source = "import os
def handler(e, c):
    found = []
    for fd in os.listdir('/proc/self/fd'):
        try: found.append((int(fd), os.readlink(f'/proc/self/fd/{fd}').split(':')[0]))
        except OSError: pass
    return sorted(found)
";
        let told = host.guest(&[("main.py", source)]).await.get("/").await.answer().json();
        assert_eq!(told, serde_json::json!([[0, "/dev/null"], [1, "pipe"], [2, "pipe"], [3, "socket"]]));
    }
}

#[tokio::test]
async fn the_channel_does_not_leak_into_child_processes() {
    let host = Host::start().await;
    for case in [
        (
            "main.mjs",
            "import { execFileSync } from 'node:child_process'; export const handler = () => execFileSync('/bin/ls', ['/proc/self/fd'], { encoding: 'utf8' }).trim().split('\\n').length;",
        ),
        (
            "main.py",
            "import subprocess\ndef handler(e, c): return len(subprocess.run(['/bin/ls', '/proc/self/fd'], capture_output=True, close_fds=False).stdout.split())\n",
        ),
    ] {
        // 0, 1, 2, and the folder that ls reads.
        assert_eq!(host.guest(&[case]).await.get("/").await.answer().text(), "4", "{}", case.0);
    }
}

#[tokio::test]
async fn each_instance_has_a_scratch_folder_that_goes_with_it() {
    let host = Host::start().await;
    let source = "import os, tempfile\ndef handler(e, c):\n    folder = tempfile.gettempdir()\n    had = os.path.exists(folder + '/a')\n    open(folder + '/a', 'w').write('x')\n    return [folder, had]\n";
    let spec = host.prepare(&[("main.py", source)]).await.unwrap();
    let (mut one, mut two) =
        (host.start_spec(spec.clone()).await.unwrap(), host.start_spec(spec).await.unwrap());
    let told = one.get("/").await.answer().json();
    assert_eq!(two.get("/").await.answer().json()[1], false, "one sees the files of the other");
    assert_eq!(one.get("/").await.answer().json()[1], true, "files do not stay between calls");
    let folder = std::path::PathBuf::from(told[0].as_str().unwrap());
    if host.runtime.machine().unwrap().private_tmp {
        assert!(folder.starts_with("/tmp"));
        assert!(!folder.join("a").exists());
        return;
    }
    assert!(folder.join("a").exists());
    drop(one);
    until(|| !folder.exists()).await;
}

#[tokio::test]
async fn a_process_leads_its_own_session_and_cannot_dump_core() {
    let host = Host::start().await;
    let source = "import os, resource\ndef handler(e, c): return [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), resource.getrlimit(resource.RLIMIT_CORE)[1], os.getcwd().endswith('functions')]\n";
    let mut guest = host.guest(&[("functions/main.py", source)]).await;
    assert_eq!(guest.get("/").await.answer().text(), "[true,true,0,true]");
}

#[tokio::test]
async fn instances_run_side_by_side() {
    let host = Host::start().await;
    let spec = host
        .prepare(&[(
            "main.py",
            "import time, uuid\ndef after_fork():\n    global OWN\n    OWN = str(uuid.uuid4())\ndef handler(e, c):\n    time.sleep(0.2)\n    return OWN\n",
        )])
        .await
        .unwrap();
    let mut guests = Vec::new();
    for _ in 0..4 {
        guests.push(host.start_spec(spec.clone()).await.unwrap());
    }
    let calls =
        guests.iter_mut().map(|guest| guest.run(Input::Request(post("/", "")), PATIENCE, no_platform()));
    let outcomes = futures_util::future::join_all(calls).await;
    let ids: BTreeSet<String> = outcomes.iter().map(|outcome| outcome.answer().text()).collect();
    assert_eq!(ids.len(), 4);
}
