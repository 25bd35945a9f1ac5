//! What the headers of the C API declare, in Rust's words. The C compiler's preprocessor expands them; what is left is a short
//! list of declarations in a small part of C, which is parsed here. From it comes `capi/src/declared.rs`, which compiles only if
//! every declared function exists with the declared type.

use std::fmt::Write as _;

/// A function that the headers declare.
pub struct Function {
    pub name: String,
    /// Its type as a pointer in Rust.
    pub ty: String,
    /// How many parameters it has.
    pub params: usize,
}

/// All that the headers declare.
#[derive(Default)]
pub struct Declared {
    /// Names of types that the headers define by others.
    pub aliases: Vec<(String, String)>,
    pub functions: Vec<Function>,
}

/// The words and signs of a preprocessed header.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let len = match first {
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            c if word(c) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        tokens.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    tokens
}

/// The declarations, without what stands in braces.
fn declarations<'a>(tokens: &[&'a str]) -> Vec<Vec<&'a str>> {
    let (mut all, mut one, mut depth) = (Vec::new(), Vec::new(), 0);
    for token in tokens {
        match *token {
            "{" => {
                depth += 1;
                if depth == 1 {
                    one.push("{}");
                }
            }
            "}" => {
                depth -= 1;
                // The body of a function ends its declaration; that of a structure does not.
                if depth == 0 && one.contains(&"(") {
                    one.clear();
                }
            }
            ";" if depth == 0 => all.push(std::mem::take(&mut one)),
            token if depth == 0 => one.push(token),
            _ => {}
        }
    }
    all
}

/// A C type in Rust, read from words like `const`, `wasm_ref_t`, `*`; a name behind it is left out.
fn rust_type(words: &[&str]) -> String {
    let mut words: Vec<&str> = words.iter().copied().filter(|w| !["struct", "enum", "extern"].contains(w)).collect();
    let array = words.iter().position(|w| *w == "[");
    if let Some(at) = array {
        words.truncate(at);
    }
    // What stands before the first `*`: `const` and the name of a type; a second name is the parameter's.
    let star = words.iter().position(|w| *w == "*").unwrap_or(words.len());
    let mut constant = words[..star].contains(&"const");
    let base = words[..star].iter().find(|w| **w != "const").copied().unwrap_or("void");
    let mut ty = match base {
        "void" => "c_void",
        "char" => "c_char",
        "_Bool" => "bool",
        "size_t" => "usize",
        "uint8_t" => "u8",
        "int32_t" => "i32",
        "uint32_t" => "u32",
        "uint64_t" => "u64",
        other => other,
    }
    .to_owned();
    let mut pointers = words[star..].iter().peekable();
    while let Some(word) = pointers.next() {
        if *word == "*" {
            ty = format!("*{} {ty}", if constant { "const" } else { "mut" });
            constant = pointers.peek() == Some(&&"const");
        }
    }
    if array.is_some() {
        ty = format!("*{} {ty}", if constant { "const" } else { "mut" });
    }
    ty
}

/// The parameters of a list that stands in parentheses.
fn parameters<'a>(params: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut list: Vec<Vec<&str>> = vec![Vec::new()];
    let mut depth = 0;
    for word in params {
        match *word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "," if depth == 0 => {
                list.push(Vec::new());
                continue;
            }
            _ => {}
        }
        list.last_mut().expect("there is one").push(*word);
    }
    list.retain(|p| !p.is_empty() && p[..] != ["void"]);
    list
}

/// A pointer to a function of these parameters and this result.
fn function_type(result: &[&str], params: &[&str]) -> String {
    let params: Vec<String> = parameters(params)
        .iter()
        .map(|p| match p.iter().position(|w| *w == "(") {
            // A pointer to a function: its result, then its name in parentheses, then its parameters.
            Some(open) => {
                let close = p.iter().position(|w| *w == ")").expect("a parenthesis that is closed");
                format!("Option<{}>", function_type(&p[..open], &p[close + 2..p.len() - 1]))
            }
            None => rust_type(p),
        })
        .collect();
    let result = match rust_type(result).as_str() {
        "c_void" => String::new(),
        ty => format!(" -> {ty}"),
    };
    format!("unsafe extern \"C\" fn({}){result}", params.join(", "))
}

/// Reads preprocessed headers.
pub fn parse(text: &str) -> Declared {
    let ours = |name: &str| name.starts_with("wasm_") || name.starts_with("wasmc_") || name == "byte_t";
    let mut declared = Declared::default();
    for words in declarations(&tokens(text)) {
        let is_type = words.first() == Some(&"typedef");
        let Some(open) = words.iter().position(|w| *w == "(") else {
            if is_type
                && !words.contains(&"{}")
                && !words.contains(&"struct")
                && let [_, of @ .., name] = &words[..]
                && ours(name)
            {
                declared.aliases.push(((*name).to_owned(), rust_type(of)));
            }
            continue;
        };
        if is_type {
            // `typedef RESULT (*NAME)(PARAMETERS)`
            if let [_, name, _, _, params @ .., _] = &words[open + 1..]
                && ours(name)
            {
                declared.aliases.push(((*name).to_owned(), format!("Option<{}>", function_type(&words[1..open], params))));
            }
        } else if let Some(name) = open.checked_sub(1).map(|at| words[at])
            && ours(name)
        {
            let params = &words[open + 1..words.len() - 1];
            let ty = function_type(&words[..open - 1], params);
            declared.functions.push(Function { name: name.to_owned(), ty, params: parameters(params).len() });
        }
    }
    declared
}

/// The contents of `capi/src/declared.rs`.
pub fn assertions(declared: &Declared) -> String {
    let mut out = String::from(
        "//! What the headers declare: every function of theirs exists with its declared type, or this file does not compile. Made by the\n\
         //! test `the_library_is_what_the_headers_declare` (`tests/tests/c_api.rs`) from the headers; `BLESS=1` makes it anew.\n\n\
         use crate::*;\n\
         use std::ffi::{c_char, c_void};\n\n",
    );
    for (name, ty) in &declared.aliases {
        let _ = writeln!(out, "#[allow(dead_code, reason = \"not every name is used\")]\ntype {name} = {ty};");
    }
    out.push('\n');
    for Function { name, ty, .. } in &declared.functions {
        let _ = writeln!(out, "const _: {ty} = {name};");
    }
    out
}
