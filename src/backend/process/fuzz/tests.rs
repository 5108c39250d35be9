//! What the fuzzer has found, and what of a breach is told.

use std::path::Path;

use proptest::prelude::*;

use super::*;

/// Runs what the fuzzer has found, each of which goes another way than the others.
fn run(corpus: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/corpus").join(corpus);
    let files: Vec<_> =
        std::fs::read_dir(&folder).expect("it is there").map(|file| file.expect("it is").path()).collect();
    assert!(files.len() > 20, "{} is nearly empty", folder.display());
    for file in files {
        let input = std::fs::read(&file).expect("it can be read");
        let held = std::panic::catch_unwind(|| property(&input));
        assert!(held.is_ok(), "{} does not hold", file.display());
    }
}

#[test]
fn what_was_found_for_the_decoder_holds() {
    run("frames", frames);
}

#[test]
fn what_was_found_for_the_parent_holds() {
    run("session", session);
}

fn framed(kind: Kind, job: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, kind, job, body);
    out
}

/// That is sent by a child that comes up, without memory files.
fn plain(sent: &[u8]) -> Script<'_> {
    Script { state: 0, shares: false, accompanied: false, pair: false, limit: 1 << 10, sizes: &[], sent }
}

/// What a child sends that comes up, idles, or has job 7, and what the parent says of it; each costs the child its life.
#[test]
fn whatever_is_not_as_the_protocol_says_is_a_breach() {
    let changed = |kind, job, at: usize| {
        let mut out = framed(kind, job, b"");
        out[at] = 1;
        out
    };
    let hello = |flags: &[u8]| framed(Kind::Hello, 0, &[b"MPND\x01\0", flags].concat());
    let zero = "a frame header that is not zero where it should be";
    let panicked = [&[0; 12][..], b"x"].concat();
    let table = [
        (0, hello(&[2, 0]), "a HELLO frame whose body is not one"),
        (0, hello(&[0, 1]), "a HELLO frame whose body is not one"),
        (0, hello(&[0]), "a HELLO frame whose body is not one"),
        (0, changed(Kind::Hello, 0, 8), "a Hello frame about job #1"),
        (
            0,
            [hello(&[0, 0]), framed(Kind::Ready, 0, b"x")].concat(),
            "a Ready frame with a body of 1 bytes, where there is none",
        ),
        (0, [hello(&[0, 0]), changed(Kind::Ready, 0, 8)].concat(), "a Ready frame about job #1"),
        (1, changed(Kind::Log, 0, 7), zero),
        (1, framed(Kind::Log, 0, &[0, 0, 0]), "a LOG frame whose body is not one"),
        (1, framed(Kind::Goodbye, 0, b"x"), "a Goodbye frame with a body of 1 bytes, where there is none"),
        (2, changed(Kind::Ack, JOB, 5), zero),
        (2, changed(Kind::Beat, JOB, 6), zero),
        (2, changed(Kind::Result, JOB, 5), zero),
        (2, framed(Kind::Ack, JOB, b"x"), "a Ack frame with a body of 1 bytes, where there is none"),
        (2, framed(Kind::Beat, JOB, b"xy"), "a Beat frame with a body of 2 bytes, where there is none"),
        (2, framed(Kind::Beat, 0, b""), "a Beat frame about job #0"),
        (2, framed(Kind::Result, 0, b"x"), "a Result frame about job #0"),
        (2, framed(Kind::Failure, JOB, b""), "a FAILURE frame whose body is not one"),
        (2, framed(Kind::Panic, JOB, &panicked), "a PANIC frame whose body is not one"),
    ];
    for (state, sent, words) in table {
        let script = Script { state, ..plain(&sent) };
        assert_eq!(led(&script, &[(&sent, None)], false), words, "{sent:?}");
        assert_eq!(led(&script, &[(&sent, None)], true), words, "{sent:?}");
    }
}

#[test]
fn a_child_of_another_build_does_not_come_up() {
    let own = Executable::own().expect("it is there");
    let hello = |identity: &[u8]| {
        let mut out = Vec::new();
        frame::put(&mut out, Kind::Hello, 0, &[b"MPND\x01\0\0\0", identity].concat());
        frame::put(&mut out, Kind::Ready, 0, &[]);
        out
    };
    let mut other = own.identity().to_vec();
    other[20] ^= 1;
    for (identity, words) in [
        (own.identity(), "came up, ended"),
        (&other, "it is another build of this executable"),
        (&own.identity()[1..], "it is another build of this executable"),
        (&[], "it is another build of this executable"),
    ] {
        let sent = hello(identity);
        let script = Script { state: 0, ..plain(&sent) };
        assert_eq!(led_as(&script, &[(&sent, None)], false, Some(own)), words);
    }
}

/// What is garbage where nobody shares is a payload that did not come where both do; and it is so however it is cut.
#[test]
fn a_frame_that_speaks_of_a_memory_file_in_vain_is_a_breach() {
    let mut sent = Vec::new();
    frame::put(&mut sent, Kind::Result, JOB, &7_u64.to_le_bytes());
    sent[5] = 1;
    for (state, words) in [
        (2, "a frame header that is not zero where it should be"),
        (0x80 | 2, "a frame that speaks of a descriptor, which did not come"),
    ] {
        let input = [&[state, 2, 1, 5][..], &sent].concat();
        frames(&input);
        session(&input);
        let script = Script::of(&input).expect("it is one");
        assert_eq!(led(&script, &[(&sent, None)], false), words);
    }
}

/// Each of two jobs that a child was handed together may have its answer in a memory file, and nobody may have looked before the child died.
#[test]
fn both_answers_of_a_pair_count_though_their_child_died_before_either_was_read() {
    const LENGTH: u32 = 1 << 20;
    let file = |byte: u8| {
        let mut file = memory::MemoryFile::new("pair").expect("there is one");
        file.write(&[byte; LENGTH as usize]).expect("it has room");
        file.seal().expect("it is sealed")
    };
    let result = |job| {
        let mut out = Vec::new();
        let at = frame::begin(&mut out, Kind::Result, job);
        frame::enclose(&mut out, at, LENGTH.into());
        out
    };
    let (files, acks) = ([file(1), file(2)], [framed(Kind::Ack, JOB, b""), framed(Kind::Ack, NEXT, b"")]);
    let results = [result(JOB), result(NEXT)];
    let joined = [0, 1].map(|n| [&acks[n][..], &results[n]].concat());
    let script = Script { state: 2, shares: true, accompanied: true, pair: true, limit: LENGTH, ..plain(&[]) };
    let apart = [0, 1].map(|n| [(&acks[n][..], None), (&results[n][..], Some(&files[n]))]).concat();
    let together = [0, 1].map(|n| (&joined[n][..], Some(&files[n])));
    for has_died in [false, true] {
        for pieces in [&apart[..], &together] {
            let end = led(&script, pieces, has_died);
            assert_eq!(end, format!("{LENGTH} bytes of Some(1), {LENGTH} bytes of Some(2), ended"), "{has_died}");
        }
    }
}

/// A child of its own may have the socket yet. What that says is the child's word, and there has to be an end to it.
#[test]
fn what_is_written_for_ever_after_a_childs_death_is_not_read_for_ever() {
    let (ours, theirs) = UnixStream::pair().expect("there are sockets");
    std::thread::scope(|scope| {
        let log = framed(Kind::Log, 0, &[1, 0, 0]).repeat(100);
        scope.spawn(move || while std::io::Write::write_all(&mut &theirs, &log).is_ok() {});
        let (hand, mut link) = linked(ours, true, &plain(&[]), None);
        assert_eq!(rests(&hand, &mut link), "ended");
        drop(link);
    });
}

/// As many as there are frames that speak of one, each with its own; and no more.
#[test]
fn a_descriptor_comes_with_each_frame_that_speaks_of_one() {
    let mut result = framed(Kind::Result, JOB, &7_u64.to_le_bytes());
    result[5] = 1;
    let sent = result.repeat(3);
    let (file, script) = (ended(), Script { shares: true, accompanied: true, ..plain(&sent) });
    let bytes: Vec<_> = (1..sent.len()).collect();
    for ends in [&[][..], &[10, 50], &bytes] {
        let pieces = script.cut(ends.iter().copied(), &file);
        assert_eq!(pieces.iter().filter(|(_, file)| file.is_some()).count(), 3);
        let (frames, _, garbage) = decoded(script.limit, true, &pieces);
        assert_eq!((frames.len(), garbage), (3, None));
    }
    let twice = [(&result[..10], Some(&file)), (&result[10..], Some(&file))];
    assert_eq!(decoded(script.limit, true, &twice).2, Some(Garbage::Descriptors));
}

/// Frames that are nearly right.
fn sent() -> impl Strategy<Value = Vec<u8>> {
    let kinds = (1_u8..6).chain(129..139).chain([0, 6, 200]).collect::<Vec<_>>();
    let body = prop_oneof![
        3 => Just(Vec::new()),
        1 => Just(b"MPND\x01\0\0\0who".to_vec()),
        1 => Just(7_u64.to_le_bytes().to_vec()),
        2 => prop::collection::vec(prop_oneof![Just(0_u8), 0_u8..9, any::<u8>()], 0..40),
    ];
    let job = prop_oneof![4 => Just(JOB), 2 => Just(NEXT), 2 => Just(0), 1 => any::<u64>()];
    let wrong = prop_oneof![20 => Just(None), 4 => Just(Some((5, 1))), 1 => (0_usize..16, any::<u8>()).prop_map(Some)];
    let frame = (prop::sample::select(kinds), job, body, wrong);
    let frame = frame.prop_map(|(kind, job, body, wrong)| {
        let mut bytes = Vec::new();
        frame::put(&mut bytes, Kind::Ack, job, &body);
        bytes[4] = kind;
        if let Some((at, byte)) = wrong {
            bytes[at] = byte;
        }
        bytes
    });
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn frames_that_are_nearly_right_hold(
        (state, limit) in any::<(u8, u8)>(),
        sizes in prop::collection::vec(any::<u8>(), 0..8),
        sent in sent(),
    ) {
        let input = [&[state, limit, sizes.len() as u8][..], &sizes, &sent].concat();
        frames(&input);
        session(&input);
    }
}
