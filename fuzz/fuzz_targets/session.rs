#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| millpond::fuzzing::session(input));
