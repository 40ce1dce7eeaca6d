//! No function of this crate can panic, whatever it is given: shown on the compiled code.
//!
//! `no_panic/probe.rs` calls every function. It is compiled with the crate and the core library into
//! one optimised program, whose assembly holds all that can run. Of every function the test follows
//! all references; none may lead to `core::panicking`, where every panic begins.
//!
//! The program has neither `std` nor an allocator, so that it builds also shows that the crate needs
//! neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn optimised_code_has_no_way_to_a_panic() {
    check("release", &["-Copt-level=3"]);
}

#[test]
fn small_code_has_no_way_to_a_panic() {
    check("small", &["-Copt-level=s"]);
}

#[test]
fn every_public_function_is_probed() {
    let mut sources = Vec::new();
    rust_files(&crate_dir().join("src"), &mut sources);
    let probe = fs::read_to_string(probe_file()).expect("the probe");
    let mut found = 0;
    for source in sources {
        let text = fs::read_to_string(&source).expect("a source file");
        for line in text.lines().map(str::trim_start) {
            let rest = line.strip_prefix("pub const fn ").or_else(|| line.strip_prefix("pub fn "));
            let Some(name) = rest.and_then(|rest| rest.split(['(', '<']).next()) else { continue };
            found += 1;
            let called = probe.contains(&format!(".{name}(")) || probe.contains(&format!("::{name}("));
            let called = called || probe.contains(&format!(" {name}("));
            assert!(called, "{}: add a line for `{name}` to tests/no_panic/probe.rs", source.display());
        }
    }
    assert!(found > 80, "{found}");
}

/// Compiles the probe and checks what each of its functions can reach.
fn check(name: &str, options: &[&str]) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_panic").join(name);
    fs::create_dir_all(&dir).expect("a directory for the build");
    let assembly = compile(&dir, options);
    let program = Program::parse(&assembly);

    let mut probes = 0;
    for function in program.blocks.keys().map(|name| name.strip_prefix('_').unwrap_or(name)) {
        if function.starts_with("probe_") {
            probes += 1;
            if let Some(path) = program.path_to_panic(function) {
                panic!("{name}: this can panic: {}", path.join(" -> "));
            }
        }
    }
    let source = fs::read_to_string(probe_file()).expect("the probe");
    let begins = |start| source.lines().filter(|line| line.trim_start().starts_with(start)).count();
    assert_eq!(probes, begins("probe_"), "each probe is in the program");

    // A check that could not fail would show nothing.
    let controls: Vec<_> =
        source.lines().filter_map(|line| line.trim_start().strip_prefix("control_")?.split('(').next()).collect();
    assert!(controls.len() > 5);
    for control in controls {
        let path = program.path_to_panic(&format!("control_{control}"));
        assert!(path.is_some(), "{name}: the panic of control_{control} was not found");
    }
}

/// Compiles crate and probe into one program; returns its assembly.
fn compile(dir: &Path, options: &[&str]) -> String {
    let library = dir.join("libvoice_rtp.rlib");
    rustc(
        Command::new(compiler())
            .current_dir(dir)
            .args(["--crate-name=voice_rtp", "--crate-type=rlib", "--edition=2024", "-Cpanic=abort"])
            .args(options)
            .arg(crate_dir().join("src/lib.rs"))
            .arg("-o")
            .arg(&library),
    );
    let assembly = dir.join("probe.s");
    rustc(
        Command::new(compiler())
            // Intermediate files have the same names in every build.
            .current_dir(dir)
            .args(["--crate-name=probe", "--crate-type=staticlib", "--edition=2021", "-Cpanic=abort"])
            .args(["-Clto=fat", "-Ccodegen-units=1"])
            .args(options)
            .arg(probe_file())
            .arg("--extern")
            .arg(format!("voice_rtp={}", library.display()))
            // Without linking there is no program, only the crate's own part of it.
            .arg(format!("--emit=link={},asm={}", dir.join("libprobe.a").display(), assembly.display())),
    );
    fs::read_to_string(assembly).expect("assembly")
}

fn rustc(command: &mut Command) {
    // What a coverage run or a user asks of the compiler must not change this program.
    let output = command.env_remove("RUSTFLAGS").output().expect("the compiler runs");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The compiler beside the cargo that built this test.
fn compiler() -> PathBuf {
    let beside = Path::new(env!("CARGO")).with_file_name("rustc").with_extension(std::env::consts::EXE_EXTENSION);
    if beside.exists() { beside } else { "rustc".into() }
}

fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn probe_file() -> PathBuf {
    crate_dir().join("tests/no_panic/probe.rs")
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The functions and tables of a program, and the names that each mentions.
struct Program<'a> {
    blocks: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Program<'a> {
    fn parse(assembly: &'a str) -> Self {
        let mut blocks = BTreeMap::<_, BTreeSet<_>>::new();
        let mut block = "";
        let mut debug = false;
        for line in assembly.lines() {
            let line = line.split_once("##").map_or(line, |(code, _)| code);
            if let Some(section) = line.trim_start().strip_prefix(".section") {
                debug = section.contains("debug");
            }
            if debug {
                continue;
            }
            if let Some(label) = line.strip_suffix(':').filter(|label| !label.starts_with(char::is_whitespace)) {
                // Labels inside of a function do not begin another.
                if !label.starts_with(".LBB") && !label.starts_with(".Ltmp") && !label.starts_with(".Lfunc") {
                    block = label;
                    blocks.entry(block).or_default();
                }
                continue;
            }
            let code = line.trim_start();
            // Functions that came out equal are one, with two names.
            if let Some((alias, name)) = code.split_once(" = ") {
                blocks.entry(alias).or_default().insert(name);
                continue;
            }
            let data = [".quad", ".long", ".xword", ".word", ".8byte", ".4byte"];
            if code.starts_with('.') && !data.iter().any(|directive| code.starts_with(directive)) {
                continue;
            }
            let names = code.split(|c: char| !(c.is_ascii_alphanumeric() || "_.$".contains(c)));
            blocks.entry(block).or_default().extend(names.filter(|name| name.len() > 3));
        }
        Self { blocks }
    }

    /// Follows all references from `function`; returns the way to the first panic.
    fn path_to_panic(&self, function: &str) -> Option<Vec<String>> {
        let (&start, _) = self
            .blocks
            .iter()
            .find(|(name, _)| name.strip_prefix('_').unwrap_or(name) == function)
            .unwrap_or_else(|| panic!("{function} is not in the program"));
        let mut came_from = BTreeMap::from([(start, start)]);
        let mut open = vec![start];
        while let Some(block) = open.pop() {
            for &name in &self.blocks[block] {
                let known = self.blocks.contains_key(name);
                // What is neither here nor of the C library would be code that nobody looked at.
                let foreign = !known && (name.starts_with("_R") || name.starts_with("_ZN"));
                if name.contains("panic") || foreign {
                    let mut path = vec![name.to_owned(), block.to_owned()];
                    let mut at = block;
                    while at != start {
                        at = came_from[at];
                        path.push(at.to_owned());
                    }
                    path.reverse();
                    return Some(path);
                }
                if known && !came_from.contains_key(name) {
                    came_from.insert(name, block);
                    open.push(name);
                }
            }
        }
        None
    }
}
