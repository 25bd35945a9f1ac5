//! A profile in the format of the Firefox Profiler ("processed profile"). The library writes functions without source lines, so
//! they travel in the functions' names, behind a character that no name has, and are put into the columns for them at the end.

use super::readable;
use crate::dwarf::{Lines, SourceFrame};
use anyhow::Result;
use fxprof_processed_profile::{
    CategoryColor, CategoryPairHandle, CpuDelta, Frame, FrameFlags, FrameInfo, Profile as Fxprof, ReferenceTimestamp, SamplingInterval,
    StackHandle, ThreadHandle, Timestamp, WeightType,
};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};
use wasmc_runtime::{Leaf, Profile, ProfileFrame, ProfileStack};

/// Between a function's name, its file and its line. Names have no control characters here.
const MARK: char = '\u{1}';

/// The kinds of frames.
struct Categories {
    compiled: CategoryPairHandle,
    interpreted: CategoryPairHandle,
    host: CategoryPairHandle,
    other: CategoryPairHandle,
}

/// The profile as JSON.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn json(profile: &Profile, program: &str) -> Result<Vec<u8>> {
    let start = profile.start().duration_since(UNIX_EPOCH).unwrap_or_default();
    let reference = ReferenceTimestamp::from_millis_since_unix_epoch(start.as_secs_f64() * 1e3);
    let interval = SamplingInterval::from_nanos(1_000_000_000 / u64::from(profile.frequency().max(1)));
    let mut out = Fxprof::new(program, reference, interval);
    out.set_symbolicated(true);
    out.set_os_name("Linux");
    let mut category = |name, color| CategoryPairHandle::from(out.add_category(name, color));
    let categories = Categories {
        compiled: category("Compiled", CategoryColor::Green),
        interpreted: category("Interpreted", CategoryColor::Orange),
        host: category("Host", CategoryColor::Blue),
        other: category("Other code", CategoryColor::Gray),
    };
    let process = out.add_process(program, std::process::id(), at(Duration::ZERO));
    out.set_process_end_time(process, at(profile.duration()));
    let labels = labels(profile, &categories);
    for (i, thread) in profile.threads().iter().enumerate() {
        let handle = out.add_thread(process, thread.id(), at(thread.start()), i == 0);
        out.set_thread_name(handle, thread.name());
        out.set_thread_end_time(handle, at(thread.end()));
        out.set_thread_samples_weight_type(handle, WeightType::Samples);
        let mut stacks: HashMap<usize, Option<StackHandle>> = HashMap::new();
        for sample in thread.samples() {
            let stack = *stacks.entry(sample.stack()).or_insert_with(|| intern(&mut out, handle, labels.get(sample.stack())?));
            let cpu = CpuDelta::from_nanos(u64::try_from(sample.cpu().as_nanos()).unwrap_or(u64::MAX));
            out.add_sample(handle, at(sample.time()), stack, cpu, 1);
        }
    }
    let mut value = serde_json::to_value(&out)?;
    if let Some(meta) = value["meta"].as_object_mut() {
        meta.insert("extra".into(), extra(profile));
    }
    source_lines(&mut value);
    Ok(serde_json::to_vec(&value)?)
}

/// What the profiler's panel of metadata shows beside its own.
fn extra(profile: &Profile) -> Value {
    let lost = format!("{:.1} %", profile.lost_percent());
    let entries = json!([
        {"label": "Samples", "format": "string", "value": profile.samples().to_string()},
        {"label": "Samples lost", "format": "string", "value": lost},
    ]);
    json!([{"label": "wasmc", "entries": entries}])
}

fn at(time: Duration) -> Timestamp {
    Timestamp::from_nanos_since_reference(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

type Labels = Vec<(String, CategoryPairHandle)>;

fn intern(out: &mut Fxprof, thread: ThreadHandle, labels: &Labels) -> Option<StackHandle> {
    let frames: Vec<_> = labels
        .iter()
        .map(|(label, category)| FrameInfo {
            frame: Frame::Label(out.intern_string(label)),
            category_pair: *category,
            flags: FrameFlags::empty(),
        })
        .collect();
    out.intern_stack_frames(thread, frames.into_iter())
}

/// The frames of each stack as labels, outermost first, with those that were inlined.
fn labels(profile: &Profile, categories: &Categories) -> Vec<Labels> {
    let mut lines: HashMap<usize, Option<Lines<'_>>> = HashMap::new();
    let mut known: HashMap<(usize, u32, Option<u32>, bool), Labels> = HashMap::new();
    let mut all = Vec::with_capacity(profile.stacks().len());
    for stack in profile.stacks() {
        let mut labels = Labels::new();
        if stack.is_truncated() {
            labels.push(("[outer frames left out]".into(), categories.other));
        }
        for frame in stack.frames().iter().rev() {
            let info = frame.info();
            let key = (info.module_key(), info.func_index(), info.module_offset(), frame.is_interpreted());
            labels.extend_from_slice(known.entry(key).or_insert_with(|| {
                let lines = lines.entry(info.module_key()).or_insert_with(|| info.module_wasm().and_then(Lines::new));
                let source = lines.as_ref().zip(info.module_offset()).map_or_else(Vec::new, |(l, offset)| l.at(offset));
                frame_labels(frame, &source, if frame.is_interpreted() { categories.interpreted } else { categories.compiled })
            }));
        }
        labels.extend(leaf(stack, categories));
        all.push(labels);
    }
    all
}

fn leaf(stack: &ProfileStack, categories: &Categories) -> Option<(String, CategoryPairHandle)> {
    match stack.leaf() {
        Leaf::Wasm => None,
        Leaf::Host(Some(name)) => Some((readable(name), categories.host)),
        Leaf::Host(None) => Some(("[runtime]".into(), categories.host)),
        Leaf::Outside => Some(("[outside of WebAssembly]".into(), categories.other)),
    }
}

fn frame_labels(frame: &ProfileFrame, source: &[SourceFrame], category: CategoryPairHandle) -> Labels {
    let label = |name: &str, s: Option<&SourceFrame>| {
        let mut label = readable(name);
        if let Some(file) = s.and_then(|s| s.file.as_deref()) {
            label.push(MARK);
            label.push_str(&readable(file));
            label.push(MARK);
            if let Some(line) = s.and_then(|s| s.line) {
                label.push_str(&line.to_string());
            }
        }
        (label, category)
    };
    // The outermost of the source's functions is the one that was not inlined, which the module names itself.
    let mut labels = vec![label(frame.name(), source.last())];
    let inlined = source.split_last().map(|(_, inlined)| inlined).unwrap_or_default();
    labels.extend(inlined.iter().rev().map(|s| label(s.function.as_deref().unwrap_or("[inlined]"), Some(s))));
    labels
}

/// Moves files and lines out of the functions' names.
fn source_lines(profile: &mut Value) {
    let shared = profile["shared"]["stringArray"].is_array();
    let mut strings = if shared { profile["shared"]["stringArray"].take() } else { Value::Null };
    for thread in profile["threads"].as_array_mut().into_iter().flatten() {
        let Some(thread) = thread.as_object_mut() else { continue };
        if !shared {
            strings = thread.get_mut("stringArray").map(Value::take).unwrap_or_default();
        }
        if let Some(strings) = strings.as_array_mut() {
            thread_lines(thread, strings);
        }
        if !shared {
            thread.insert("stringArray".into(), strings.take());
        }
    }
    if shared {
        // Nothing refers to these names any more, and they would only puzzle whoever reads the file.
        for s in strings.as_array_mut().into_iter().flatten() {
            if let Some((name, _)) = s.as_str().and_then(|s| s.split_once(MARK)) {
                *s = name.into();
            }
        }
        profile["shared"]["stringArray"] = strings;
    }
}

/// As above, of one thread. Functions that differ by their lines only become one, and their frames get the lines.
fn thread_lines(thread: &mut Map<String, Value>, strings: &mut Vec<Value>) {
    let Some(Value::Object(mut functions)) = thread.get_mut("funcTable").map(Value::take) else { return };
    let names: Vec<usize> =
        functions.get("name").and_then(Value::as_array).into_iter().flatten().map(|n| n.as_u64().unwrap_or(0) as usize).collect();
    let mut places: HashMap<String, usize> = strings.iter().enumerate().filter_map(|(i, s)| Some((s.as_str()?.to_owned(), i))).collect();
    let mut intern = |s: &str, strings: &mut Vec<Value>| {
        *places.entry(s.to_owned()).or_insert_with(|| {
            strings.push(s.into());
            strings.len() - 1
        })
    };
    // For each old function its new one and the line.
    let mut moved: Vec<(usize, Option<u32>)> = Vec::with_capacity(names.len());
    let mut kept: HashMap<(usize, Option<usize>), usize> = HashMap::new();
    let mut rows: Vec<(usize, usize, Option<usize>)> = Vec::new();
    for (old, name) in names.iter().enumerate() {
        let text = strings.get(*name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut parts = text.split(MARK);
        let name = intern(parts.next().unwrap_or_default(), strings);
        let file = parts.next().map(|f| intern(f, strings));
        let line = parts.next().and_then(|l| l.parse().ok());
        let new = *kept.entry((name, file)).or_insert_with(|| {
            rows.push((old, name, file));
            rows.len() - 1
        });
        moved.push((new, line));
    }
    let length = rows.len();
    for (column, values) in &mut functions {
        let Some(old) = values.as_array() else { continue };
        let row = |(from, name, file): &(usize, usize, Option<usize>)| match column.as_str() {
            "name" => json!(name),
            "fileName" => json!(file),
            _ => old.get(*from).cloned().unwrap_or_default(),
        };
        *values = rows.iter().map(row).collect();
    }
    functions.insert("length".into(), length.into());
    thread.insert("funcTable".into(), functions.into());
    let Some(frames) = thread.get_mut("frameTable").and_then(Value::as_object_mut) else { return };
    let mut lines = Vec::new();
    for f in frames.get_mut("func").and_then(Value::as_array_mut).into_iter().flatten() {
        let (new, line) = f.as_u64().and_then(|i| moved.get(i as usize)).copied().unwrap_or_default();
        *f = new.into();
        lines.push(json!(line));
    }
    frames.insert("line".into(), lines.into());
}
