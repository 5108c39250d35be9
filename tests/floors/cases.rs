//! The check itself, checked: sources that it must and must not object to.

use crate::imports::check;

/// The violations of `text`, were it the file `path` inside `src/`.
fn problems(path: &str, text: &str) -> Vec<String> {
    check(&path.split('/').collect::<Vec<_>>(), text)
}

#[track_caller]
fn refused(path: &str, text: &str, because: &str) {
    let problems = problems(path, text);
    assert!(problems.len() == 1 && problems[0].contains(because), "{path}: {text}\n{problems:?}");
}

#[track_caller]
fn accepted(path: &str, text: &str) {
    assert_eq!(problems(path, text), Vec::<String>::new(), "{path}: {text}");
}

#[test]
fn imports_from_above_and_from_the_own_floor_are_fine() {
    accepted("gate.rs", "use crate::lane::{Queue, discipline::Next};\nuse crate::sync::Arc;");
    accepted("config.rs", "use crate::id::LaneId;");
    accepted("lane/queue.rs", "use super::discipline;\nuse crate::lane::Lane;\nuse self::inner::X;\nmod inner {}");
    accepted("lane/deep/one.rs", "use super::super::queue::Queue;");
    accepted("testing.rs", "use crate::{pool::Pool, sync::Arc};");
}

#[test]
fn an_import_from_below_is_refused_however_it_is_written() {
    refused("id.rs", "use crate::config::Lane;", "src/id.rs:1: `crate::config::Lane`: `config` stands below `id`");
    refused("lane/mod.rs", "\n\npub(crate) use crate::gate::Gate;", "src/lane/mod.rs:3");
    refused("lane/queue.rs", "use crate::{sync::Arc, gate::{Gate}, id};", "`gate` stands below");
    refused("lane/queue.rs", "fn f(gate: &crate::gate::Gate) {}", "`gate` stands below");
    refused("lane/queue.rs", "fn f() { crate::plane::open::<u8>(); }", "`plane` stands below");
    refused("lane/queue.rs", "use super::super::gate::Gate;", "`gate` stands below");
    refused("lane/mod.rs", "use super::gate;", "`gate` stands below");
    refused("gate.rs", "use super::{lane::Queue, slot as place};", "`slot` stands below");
    refused("gate.rs", "mod inner { use super::super::slot::Cell; }", "`slot` stands below");
    refused("gate.rs", "macro_rules! m { () => { $crate::slot::new() } }", "`slot` stands below");
    refused("backend/thread.rs", "use crate::control::Message;", "`control` stands below");
    refused("executor.rs", "use crate::pool::Pool;", "`pool` stands below");
}

#[test]
fn every_branch_of_a_tree_is_judged() {
    let tree = "use crate::{plane::{Plane, a::B}, sync::*, gate, slot::{self, Cell}};";
    assert_eq!(problems("lane/mod.rs", tree).len(), 5);
    assert_eq!(problems("slot.rs", tree).len(), 2);
    accepted("backend/mod.rs", tree);
}

#[test]
fn pool_and_builder_are_one_floor() {
    accepted("pool.rs", "use crate::builder::Builder;");
    accepted("builder.rs", "use crate::pool::Pool;");
    refused("builder.rs", "use crate::testing::Script;", "`testing` stands below");
}

#[test]
fn the_crate_root_hides_no_import() {
    refused("lane/mod.rs", "use crate::Pool;", "goes through the crate root");
    refused("lane/mod.rs", "use crate::*;", "goes through the crate root");
    refused("lane/mod.rs", "use super::*;", "goes through the crate root");
    refused("lane/mod.rs", "use crate::{self as root};", "goes through the crate root");
    refused("lane/mod.rs", "use crate as root;", "renames the crate root");
    accepted("lane/mod.rs", "fn f() { crate::trace!(1); }");
}

#[test]
fn a_module_on_no_floor_is_refused() {
    refused("util.rs", "", "`util` is on no floor");
    refused("loom.rs", "", "`loom` is on no floor");
    accepted("lib.rs", "mod util; use crate::pool::Pool;");
}

#[test]
fn comments_literals_and_reach_are_no_imports() {
    accepted("id.rs", "//! See [`crate::Pool`] and crate::pool::Pool.\n/* crate::pool /* ractor */ spawn */");
    accepted("id.rs", r##"const A: &str = "use crate::pool::\"Pool"; const B: &str = r#"ractor " crate::pool::X"#;"##);
    accepted("id.rs", r"const A: [char; 2] = ['\'', '/']; fn f<'a>(x: &'a str) {} const C: &[u8] = b'x' as _;");
    accepted("lane/queue.rs", "pub(crate) struct A; pub(super) struct B; pub(in crate::lane) struct C; fn f(self) {}");
    refused("id.rs", "fn f<'a>(x: &'a str) { crate::pool::run(x, 'y') }", "`pool` stands below");
    refused("id.rs", "const A: &str = \"\n\"; use crate::pool::P;", "src/id.rs:2");
}

#[test]
fn what_only_tests_compile_may_import_from_anywhere() {
    let test = "use crate::testing::Script; fn f() { std::thread::spawn(|| ()); }";
    accepted("lane/loom.rs", test);
    accepted("lane/tests.rs", test);
    accepted("lane/tests/full.rs", test);
    accepted("id.rs", &format!("#![cfg(test)]\n{test}"));
    for gate in ["test", "all(test, millpond_loom)", "all(not(millpond_loom), test)"] {
        accepted("id.rs", &format!("#[cfg({gate})]\n#[allow(unused)]\nmod tests {{ {test} }}\nuse crate::sync::Arc;"));
        accepted("id.rs", &format!("#[cfg({gate})]\npub(crate) use crate::testing::{{A, B}};"));
        refused("id.rs", &format!("#[cfg({gate})]\nmod tests {{ {test} }}\nuse crate::pool::P;"), "`pool` stands");
    }
    let field = "struct S { #[cfg(test)] probe: crate::testing::Probe, pool: crate::pool::Pool }";
    refused("id.rs", field, "`pool` stands below");
    for gate in ["not(test)", "any(test, unix)", "all(not(test), unix)", "feature = \"testing\""] {
        refused("id.rs", &format!("#[cfg({gate})]\nuse crate::testing::Script;"), "`testing` stands below");
    }
}

#[test]
fn nothing_above_the_line_knows_ractor_or_spawns() {
    refused("plane.rs", "use ractor::ActorRef;", "knows ractor");
    refused("plane/mod.rs", "use {std::fmt, ractor::Actor};", "knows ractor");
    refused("sync/mod.rs", "fn f() { std::thread::spawn(|| ()); }", "spawns");
    refused("sync/mod.rs", "fn f() { Builder::new().name(n).spawn(|| ()); }", "spawns");
    refused("job/mod.rs", "fn f() { tokio::task::spawn_blocking(|| ()); }", "spawns");
    refused("job/mod.rs", "use tokio::spawn as go;", "spawns");
    accepted("backend/thread.rs", "use ractor::Actor; fn f() { std::thread::spawn(|| ()); }");
    accepted("policy.rs", "/// As ractor's. Never spawns.\nfn respawned() {}");
}
