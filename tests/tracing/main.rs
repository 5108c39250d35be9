//! What is traced: the span of each job, and what control decides. A program of its own, since a subscriber is the process's.

#![allow(missing_docs, reason = "the names of tests say what they guard")]

mod decisions;
mod listener;
mod operator;
mod spans;
