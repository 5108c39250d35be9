//! Commands whose pool is built, used and dropped with and without a runtime. wasmtime-wasi blocks on one, which no thread may that drives one.

use millpond::PoolExecutor;
use millpond::interpreter::WasiCommand;

use super::authority::Folder;
use super::{builder, command, tool};
use crate::rig::{LIMIT, Outcome};

/// Input, output, files and a sleep: whatever goes through a runtime.
fn deeds(folder: &Folder) -> Vec<WasiCommand> {
    std::fs::write(folder.path().join("a"), "rudd").expect("a file can be written there");
    vec![
        command(["echo"]).stdin("in"),
        command(["write", "/data/b", "bleak"]),
        command(["cat", "/data/a"]),
        command(["list", "/data"]),
        command(["sleep", "1000"]),
        command(["panic"]),
    ]
}

async fn in_a_runtime(name: &str) -> Outcome {
    let folder = Folder::new(name);
    let pool = builder(tool().grant_read_write(folder.path(), "/data").grant_clocks()).build()?;
    let mut codes = Vec::new();
    for deed in deeds(&folder) {
        codes.push(pool.submit(deed).await?.await.map(|output| output.exit_code).ok());
    }
    assert_eq!(codes, [Some(0), Some(0), Some(0), Some(0), Some(0), None]);
    pool.shutdown(LIMIT).await?;
    drop(pool);
    Ok(())
}

#[tokio::test]
async fn in_a_runtime_of_one_thread() -> Outcome {
    in_a_runtime("current").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_runtime_of_several_threads() -> Outcome {
    in_a_runtime("multi").await
}

#[test]
fn without_a_runtime() -> Outcome {
    let folder = Folder::new("none");
    let pool = builder(tool().grant_read_write(folder.path(), "/data").grant_clocks()).build()?;
    let codes = deeds(&folder)
        .into_iter()
        .map(|deed| Ok(pool.submit_blocking(deed)?.join().map(|output| output.exit_code).ok()));
    let codes: Vec<_> = codes.collect::<Result<_, Box<dyn std::error::Error + Send + Sync>>>()?;
    assert_eq!(codes, [Some(0), Some(0), Some(0), Some(0), Some(0), None]);
    pool.blocking().shutdown(LIMIT)?;
    Ok(())
}
