//! `evoke store`, beside a server and without one.

use std::fs;
use std::path::Path;

use crate::app::served;
use crate::evoke::evoke;

/// The path as an argument.
fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_store_is_saved_beside_its_server_and_made_anew() {
    let (server, app) = served();
    server.evoke(app.path(), &["send", "order", "--data", "{}"]).ok();
    let place = tempfile::tempdir().unwrap();
    let [saved, again] = ["saved", "again"].map(|name| place.path().join(name));
    let here = place.path();
    let verified = evoke(here, &["store", "verify", "--json", "--data", arg(&server.data)]).ok().json();
    assert_eq!((&verified["intact"], &verified["in_use"]), (&true.into(), &true.into()), "{verified}");
    evoke(here, &["store", "backup", arg(&saved), "--data", arg(&server.data)]).ok();
    evoke(here, &["store", "restore", arg(&saved), "--data", arg(&again)]).ok();
    let counted = evoke(here, &["store", "stats", "--json", "--data", arg(&again)]).ok().json();
    assert_eq!(counted["apps"]["plain"]["events"], 1, "{counted}");
    let orders = &counted["apps"]["plain"]["archive"]["order"];
    assert_eq!(orders["events"], 1, "{counted}");
    assert!(orders["bytes"].as_u64() > Some(50) && orders["oldest"].is_u64(), "{counted}");
    assert_eq!(counted["objects"], 1, "the app's files are in it");

    let refused = evoke(here, &["store", "restore", arg(&saved), "--data", arg(&again)]);
    assert_eq!(refused.code, 5, "{refused:?}");
    let absent = evoke(here, &["store", "restore", arg(here), "--data", "new"]);
    assert_eq!(absent.code, 4, "{absent:?}");
}

#[test]
fn damage_is_told_and_counts_as_a_failure() {
    let (server, _app) = served();
    let place = tempfile::tempdir().unwrap();
    let here = place.path();
    let saved = here.join("saved");
    evoke(here, &["store", "backup", arg(&saved), "--data", arg(&server.data)]).ok();
    let objects = saved.join("objects");
    let folder = fs::read_dir(&objects).unwrap().next().unwrap().unwrap().path();
    let object = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&object).unwrap();
    bytes[700] ^= 4;
    fs::write(&object, bytes).unwrap();
    let said = evoke(here, &["store", "verify", "--json", "--data", arg(&saved)]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(said.json()["findings"][0]["place"], "objects");
    let absent = evoke(here, &["store", "verify", "--data", "nowhere"]);
    assert_eq!(absent.code, 1);
    assert!(absent.stderr.contains("there is no file evoke.db in it"), "{}", absent.stderr);
}
