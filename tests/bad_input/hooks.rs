//! Hooks whose options contradict themselves, at build and when they are set later.

use std::time::Duration;

use millpond::{BuildError, ConfigError, ControlError, Hook, HookOptions, HookSpec, ThreadPool, Verdict};

use crate::{LIMIT, builder, goes_on, pool};

/// Allows everything.
struct Meek;

impl Hook for Meek {}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

fn meek(name: &str) -> HookSpec {
    HookSpec::new(name, Meek)
}

#[test]
fn hooks_that_make_no_sense_are_refused_at_build_and_later() {
    let pool = pool("bad-hooks");
    for (options, name, wanted) in [
        (HookOptions::new(), "", ConfigError::BadName { what: "hook", bytes: 0 }),
        (HookOptions::new().limit(Duration::ZERO), "slow", ConfigError::ZeroLimit("hook limit")),
        (
            HookOptions::new().default_verdict(Verdict::Delay(CENTURY)),
            "late",
            ConfigError::HookDelay { hook: "late".to_owned(), delay: CENTURY },
        ),
    ] {
        let spec = || meek(name).options(options.clone());
        match builder("bad-hook").hook_spec(spec()).build() {
            Err(BuildError::Config { conflict, .. }) => assert_eq!(conflict, wanted),
            other => panic!("{other:?}"),
        }
        let refused = pool.blocking().set_hook(spec(), LIMIT).expect_err("it makes no sense");
        let text = format!("pool `bad-hooks` cannot set a hook, and nothing was changed: {wanted}");
        assert_eq!(refused.to_string(), text);
        assert!(matches!(refused, ControlError::Config { conflict, .. } if conflict == wanted));
    }
    assert_eq!(pool.blocking().hooks(LIMIT), Ok(Vec::new()), "nothing was changed");
    goes_on(&pool);
}

#[test]
fn two_hooks_of_one_name() {
    let built = builder("twins").hook("twin", Meek).hook("twin", Meek).build();
    let error = built.expect_err("which is meant, nobody knows");
    let text = "pool `twins` was not built: two hooks are called `twin`: give one of them another name";
    assert_eq!(error.to_string(), text);
    let duplicate = ConfigError::DuplicateHook("twin".to_owned());
    assert!(matches!(error, BuildError::Config { conflict, .. } if conflict == duplicate));
}

#[test]
fn more_hooks_than_a_pool_can_have() {
    let many = |count: usize| {
        (0..count).fold(builder(&format!("crowd-{count}")), |builder, n| builder.hook(format!("hook-{n}"), Meek))
    };
    let error = many(65).build().expect_err("one too many");
    assert!(matches!(error, BuildError::Config { conflict: ConfigError::TooManyHooks { hooks: 65, most: 64 }, .. }));
    let text = "pool `crowd-65` was not built: 65 hooks: a pool can have 64, as each costs a message for each question; \
                remove one, or let one do what several do";
    assert_eq!(error.to_string(), text);
    let pool: ThreadPool = many(64).build().expect("so many it can have");
    let refused = pool.blocking().set_hook(meek("one-more"), LIMIT);
    let too_many = ConfigError::TooManyHooks { hooks: 65, most: 64 };
    assert!(matches!(refused, Err(ControlError::Config { conflict, .. }) if conflict == too_many));
    pool.blocking().set_hook(meek("hook-0"), LIMIT).expect("a replacement is not one more");
    goes_on(&pool);
}

#[test]
fn a_hook_that_there_is_not() {
    let pool = pool("no-hook");
    let error = pool.blocking().remove_hook("nobody", LIMIT).expect_err("there is none");
    assert_eq!(error.to_string(), "pool `no-hook` has no hook `nobody`");
    goes_on(&pool);
}
