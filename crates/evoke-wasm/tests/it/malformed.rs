//! Files that are no good components, made to be as bad as they can: each is refused with a reason, by a process that lives on.

use crate::host::compiled;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn refused(name: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.wasm");
    std::fs::write(&path, bytes).unwrap();
    let why = compiled(path.to_str().unwrap()).err();
    let why = why.unwrap_or_else(|| panic!("{name} is taken for a component"));
    assert!(!why.is_empty() && why.len() < 16 << 10, "{name}: {why}");
}

/// An unsigned number as the format writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [COMPONENT, &sections.concat()].concat()
}

/// A component with one core module of these sections.
fn with_module(sections: &[Vec<u8>]) -> Vec<u8> {
    component(&[section(1, &[MODULE, &sections.concat()].concat())])
}

#[test]
fn lies_about_lengths_and_counts() {
    refused("a section beyond the end", &[COMPONENT, &[1, 0xff, 0xff, 0x7f]].concat());
    refused("a length that never ends", &[COMPONENT, &[1], &[0x80; 100][..]].concat());
    refused("an unknown section", &component(&[section(200, b"x")]));
    for id in 1..=12 {
        let many = [&leb(u32::MAX as usize)[..], &[0; 64]].concat();
        refused("a section with four billion entries", &component(&[section(id, &many)]));
        refused("an empty section", &component(&[section(id, b"")]));
        refused("the same of a module", &with_module(&[section(id, &many)]));
    }
}

#[test]
fn nested_deeper_than_anybody_means() {
    let mut nested = COMPONENT.to_vec();
    for _ in 0..1_000 {
        nested = component(&[section(4, &nested)]);
    }
    refused("components in components", &nested);
    let blocks = [&[0x02, 0x40].repeat(20_000)[..], &[0x0b].repeat(20_001)].concat();
    let body = [&[0][..], &blocks].concat();
    let code = [&[1][..], &leb(body.len()), &body].concat();
    let types = section(1, &[1, 0x60, 0, 0]);
    // Valid by itself; the component exports nothing.
    refused("blocks in blocks", &with_module(&[types, section(3, &[1, 0]), section(10, &code)]));
}

#[test]
fn more_than_a_machine_has() {
    let memory = [&[1, 0][..], &leb(65_537)].concat();
    refused("a memory above 4 GiB", &with_module(&[section(5, &memory)]));
    let memories = [&leb(100_000)[..], &[0, 1].repeat(100_000)].concat();
    refused("a hundred thousand memories", &with_module(&[section(5, &memories)]));
    let table = [&[1, 0x70, 0][..], &leb(u32::MAX as usize)].concat();
    refused("a table of four billion", &with_module(&[section(4, &table)]));
    let types = [&leb(1_000_001)[..], &[0x60, 0, 0].repeat(1_000_001)].concat();
    refused("a million types", &with_module(&[section(1, &types)]));
}

/// The reason why it is refused.
fn reason(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.wasm");
    std::fs::write(&path, bytes).unwrap();
    compiled(path.to_str().unwrap()).unwrap_err()
}

/// A component of so many modules of these sections, each instantiated.
fn modules(count: usize, sections: &[Vec<u8>]) -> Vec<u8> {
    let module = section(1, &[MODULE, &sections.concat()].concat());
    let instances = (0..count).flat_map(|index| [&[0][..], &leb(index), &[0]].concat());
    let instances = section(2, &[leb(count), instances.collect()].concat());
    component(&[vec![module; count], vec![instances]].concat())
}

#[test]
fn more_tables_memories_and_modules_than_an_instance_may_have() {
    let table = |elements: usize| section(4, &[&[1, 0x70, 0][..], &leb(elements)].concat());
    let tables = |count: usize| section(4, &[leb(count), [0x70, 0, 1].repeat(count)].concat());
    let memory = section(5, &[1, 0, 1]);
    let fits = "exports neither";
    assert!(reason(&modules(1, &[table(100_000)])).contains(fits));
    let too_large = reason(&modules(1, &[table(100_001)]));
    assert!(too_large.contains("exceeds the limit of 100000"), "{too_large}");
    assert!(reason(&modules(4, std::slice::from_ref(&memory))).contains(fits));
    let many = reason(&modules(1, &[tables(16)]));
    assert!(many.contains(fits), "{many}");
    let many = reason(&modules(1, &[tables(17)]));
    assert!(many.contains("exceeds the per-instance limit of 16"), "{many}");
    for (name, many) in [
        ("memories", modules(5, &[memory])),
        ("tables", modules(2, &[tables(9)])),
        ("instances", modules(17, &[])),
    ] {
        let why = reason(&many);
        assert!(why.contains("exceeds the configured maximum"), "{name}: {why}");
    }
}

#[test]
fn any_single_byte_of_a_small_component_may_be_wrong() {
    let small = with_module(&[section(1, &[1, 0x60, 0, 0]), section(5, &[1, 0, 1])]);
    for at in 0..small.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = small.clone();
            bytes[at] = value;
            refused("a changed byte", &bytes);
        }
    }
}
