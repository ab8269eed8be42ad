//! `evoke new`, and that what it makes works.

use crate::evoke::{Server, eventually, evoke, folder, http};

#[test]
fn a_new_app_works_as_it_is() {
    let server = Server::start();
    for template in ["ts", "python", "rust"] {
        let dir = folder(&[]);
        let name = format!("hello-{template}");
        let made = evoke(dir.path(), &["new", &name, "--template", template]).ok();
        assert!(made.stdout.contains(&format!("{name}/evoke.toml\n")), "{made:?}");
        assert!(made.stderr.contains("evoke dev"), "{made:?}");
        let app = dir.path().join(&name);
        // All templates have the same route, and an app's routes are its own.
        let manifest = std::fs::read_to_string(app.join("evoke.toml")).unwrap();
        let path = format!("/{template}");
        std::fs::write(app.join("evoke.toml"), manifest.replace("/hello\"", &format!("{path}\""))).unwrap();
        server.evoke(&app, &["deploy"]).ok();
        let hello = || http(&server.data_url, "GET", &format!("{path}?name=Ada"), "").body;
        let first: serde_json::Value = serde_json::from_str(&hello()).unwrap();
        assert_eq!(first, serde_json::json!({ "message": "Hello, Ada!", "greetedBefore": 0 }));
        eventually("the event to be counted", || {
            let logs = server.evoke(&app, &["logs", "tally"]).ok();
            logs.stdout.contains("Ada was greeted, 1 in all").then_some(())
        });
        let second: serde_json::Value = serde_json::from_str(&hello()).unwrap();
        assert_eq!(second["greetedBefore"], 1);
    }
}

#[test]
fn a_folder_with_something_in_it_is_refused() {
    let dir = folder(&[("shop/notes.txt", "mine"), ("file", "mine")]);
    let said = evoke(dir.path(), &["new", "shop"]);
    assert_eq!(said.code, 2);
    insta::assert_snapshot!(said.whole());
    assert_eq!(evoke(dir.path(), &["new", "file"]).code, 2);
    assert_eq!(std::fs::read_dir(dir.path().join("shop")).unwrap().count(), 1);
}

#[test]
fn a_name_that_is_none_is_refused() {
    let dir = folder(&[]);
    let said = evoke(dir.path(), &["new", "My Shop"]);
    assert_eq!(said.code, 2);
    insta::assert_snapshot!(said.whole());
    let json = evoke(dir.path(), &["new", "shop", "--json"]).ok().json();
    assert_eq!((&json["app"], &json["template"]), (&"shop".into(), &"ts".into()));
}
