;; `try` with every kind of handler: which one takes an exception, what it gets, and where control goes on.

(module
  (tag $a) (tag $b (param i32)) (tag $c (param i64 f64)) (tag $v (param v128)) (tag $many (param i32 i64 f32 f64 i32))
  (func $throw (param i32)
    (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 (local.get 0)))
      (throw $a))
      (throw $b (i32.const 11)))
      (throw $c (i64.const 22) (f64.const 3.5)))
      (throw $v (v128.const i32x4 1 2 3 4))))

  (func (export "empty")
    try
    end)
  (func (export "value") (result i32)
    try (result i32)
      (i32.const 7)
    end)
  (func (export "no_handler") (param i32)
    try
      (call $throw (local.get 0))
    end)
  (func (export "nothing_thrown") (result i32)
    try (result i32)
      (i32.const 1)
    catch_all
      (i32.const 2)
    end)
  (func (export "throw_here") (result i32)
    try (result i32)
      (throw $b (i32.const 5))
    catch $b
      (i32.add (i32.const 100))
    end)
  (func (export "throw_here_all") (result i32)
    try (result i32)
      (throw $b (i32.const 5))
    catch_all
      (i32.const 6)
    end)
  (func (export "throw_here_other") (result i32)
    try (result i32)
      (throw $b (i32.const 5))
    catch $a
      (i32.const 1)
    catch_all
      (i32.const 2)
    end)
  (func (export "throw_here_outer") (result i32)
    try (result i32)
      try (result i32)
        (throw $b (i32.const 5))
      catch $a
        (i32.const 1)
      end
    catch $b
      (i32.add (i32.const 50))
    end)
  (func (export "throw_here_uncaught") (param i32) (result i32)
    try (result i32)
      (throw $b (local.get 0))
    catch $a
      (i32.const 1)
    catch $c
      drop
      drop
      (i32.const 2)
    end)
  (func (export "first") (param i32) (result i32)
    try (result i32)
      (call $throw (local.get 0))
      (i32.const 1)
    catch $a
      (i32.const 2)
    catch $b
    catch $a
      (i32.const 4)
    catch $c
      drop
      (i32.wrap_i64)
    catch_all
      (i32.const 5)
    end)
  ;; The same tag twice: the first clause wins.
  (func (export "twice") (result i32)
    try (result i32)
      (call $throw (i32.const 0))
      (i32.const 0)
    catch $a
      (i32.const 1)
    catch $a
      (i32.const 2)
    end)
  (func (export "vector") (result v128)
    try (result v128)
      (call $throw (i32.const 3))
      unreachable
    catch $v
    end)
  (func (export "many") (param i32 i64 f32 f64) (result i32 i64 f32 f64 i32)
    try (result i32 i64 f32 f64 i32)
      (throw $many (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 99))
    catch $many
    end)
  (func $throw_many (param i32 i64 f32 f64) (throw $many (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 98)))
  (func (export "many_called") (param i32 i64 f32 f64) (result i32 i64 f32 f64 i32)
    try (result i32 i64 f32 f64 i32)
      (call $throw_many (local.get 0) (local.get 1) (local.get 2) (local.get 3))
      unreachable
    catch $many
    end)
  ;; Parameters of the block, and operands below it.
  (func (export "params") (param i32) (result i32)
    (i32.const 1000)
    (i32.const 10)
    (local.get 0)
    try (param i32 i32) (result i32)
      (call $throw)
    catch $b
    catch_all
      (i32.const 20)
    end
    i32.add)
  ;; Locals have the values that they had at the throw.
  (func (export "locals") (param i32) (result i32) (local i32)
    (local.set 1 (i32.const 1))
    try
      (local.set 1 (i32.const 2))
      (call $throw (local.get 0))
      (local.set 1 (i32.const 3))
      (call $throw (i32.const 0))
      (local.set 1 (i32.const 4))
    catch $a
      (local.set 1 (i32.add (local.get 1) (i32.const 100)))
    catch $b
      drop
      (local.set 1 (i32.add (local.get 1) (i32.const 200)))
    end
    (local.get 1))
  ;; Handlers are not in their own `try`.
  (func (export "throw_in_handler") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (call $throw (local.get 0))
        (i32.const 0)
      catch $a
        (throw $b (i32.const 77))
      catch $b
        drop
        (call $throw (i32.const 0))
        (i32.const 1)
      catch_all
        (call $throw (i32.const 1))
        (i32.const 2)
      end
    catch $a
      (i32.const 1000)
    catch $b
    end)
  (func (export "nested_in_handler") (param i32) (result i32)
    try (result i32)
      (call $throw (local.get 0))
      (i32.const 0)
    catch $b
      try (result i32)
        (throw $b (i32.const 1))
      catch $b
      end
      (i32.add)
    catch $a
      try (result i32)
        (call $throw (i32.const 1))
        (i32.const 0)
      catch $b
      end
    end)
  ;; Branches out of body and handlers, to the label of the `try` and to outer ones.
  (func (export "branches") (param i32 i32) (result i32)
    (block $out (result i32)
      try $t (result i32)
        (br_if $t (i32.const 1) (i32.eq (local.get 1) (i32.const 1)))
        (br_if $out (i32.eq (local.get 1) (i32.const 2)))
        (drop)
        (if (i32.eq (local.get 1) (i32.const 3)) (then (return (i32.const 3))))
        (call $throw (local.get 0))
        (i32.const 4)
      catch $a
        (br $t (i32.const 5))
      catch $b
        (br $out (i32.add (i32.const 6)))
      catch_all
        (return (i32.const 7))
      end
      (i32.add (i32.const 100))))
  ;; A loop inside a `try`, a `try` inside a loop.
  (func $throw_if_zero (param i32) (if (i32.eqz (local.get 0)) (then (throw $b (i32.const 1)))))
  (func (export "loops") (param i32) (result i32) (local $caught i32) (local $i i32)
    (local.set $i (local.get 0))
    (loop $again
      try
        (loop $inner (call $throw_if_zero (i32.rem_u (local.get $i) (i32.const 3))) (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br $inner))
      catch $b
        (local.set $caught (i32.add (local.get $caught)))
        (if (local.tee $i (local.get $i)) (then (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br $again)))
      end)
    (local.get $caught))
  ;; Code that cannot be reached, in all places.
  (func (export "dead") (param i32) (result i32)
    (block $out (result i32)
      (br $out (i32.const 3))
      try (result i32)
        (throw $b (i32.const 1))
      catch $b
        try
        catch $a
          (rethrow 0)
        catch_all
        end
      catch_all
        (i32.const 2)
      end))
  (func (export "dead_after") (param i32) (result i32)
    try (result i32)
      (return (i32.const 8))
      try
        (call $throw (i32.const 0))
      catch $a
        (rethrow 0)
      end
      (i32.const 1)
    catch $a
      (i32.const 9)
    end)
  (func (export "dead_handler") (result i32)
    try (result i32)
      (i32.const 4)
    catch $a
      (call $throw (i32.const 0))
      (rethrow 0)
    catch $b
      (i32.add (i32.const 1))
    catch_all
      unreachable
    end)
  (func (export "trap") (param i32) (result i32)
    try (result i32)
      (i32.div_u (i32.const 1) (local.get 0))
    catch_all
      (i32.const 2)
    end)
  (func (export "trap_here") (result i32)
    try (result i32)
      unreachable
    catch_all
      (i32.const 2)
    end)
)

(assert_return (invoke "empty"))
(assert_return (invoke "value") (i32.const 7))
(assert_return (invoke "no_handler" (i32.const 4)))
(assert_exception (invoke "no_handler" (i32.const 0)))
(assert_return (invoke "nothing_thrown") (i32.const 1))
(assert_return (invoke "throw_here") (i32.const 105))
(assert_return (invoke "throw_here_all") (i32.const 6))
(assert_return (invoke "throw_here_other") (i32.const 2))
(assert_return (invoke "throw_here_outer") (i32.const 55))
(assert_exception (invoke "throw_here_uncaught" (i32.const 1)))
(assert_return (invoke "first" (i32.const 0)) (i32.const 2))
(assert_return (invoke "first" (i32.const 1)) (i32.const 11))
(assert_return (invoke "first" (i32.const 2)) (i32.const 22))
(assert_return (invoke "first" (i32.const 3)) (i32.const 5))
(assert_return (invoke "first" (i32.const 4)) (i32.const 1))
(assert_return (invoke "twice") (i32.const 1))
(assert_return (invoke "vector") (v128.const i32x4 1 2 3 4))
(assert_return (invoke "many" (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4))
  (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4) (i32.const 99))
(assert_return (invoke "many_called" (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4))
  (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4) (i32.const 98))
(assert_return (invoke "params" (i32.const 0)) (i32.const 1020))
(assert_return (invoke "params" (i32.const 1)) (i32.const 1011))
(assert_return (invoke "params" (i32.const 4)) (i32.const 1010))
(assert_return (invoke "locals" (i32.const 0)) (i32.const 102))
(assert_return (invoke "locals" (i32.const 1)) (i32.const 202))
(assert_return (invoke "locals" (i32.const 4)) (i32.const 103))
(assert_exception (invoke "locals" (i32.const 2)))
(assert_return (invoke "throw_in_handler" (i32.const 0)) (i32.const 77))
(assert_return (invoke "throw_in_handler" (i32.const 1)) (i32.const 1000))
(assert_return (invoke "throw_in_handler" (i32.const 2)) (i32.const 11))
(assert_return (invoke "throw_in_handler" (i32.const 4)) (i32.const 0))
(assert_return (invoke "nested_in_handler" (i32.const 0)) (i32.const 11))
(assert_return (invoke "nested_in_handler" (i32.const 1)) (i32.const 12))
(assert_exception (invoke "nested_in_handler" (i32.const 2)))
(assert_return (invoke "branches" (i32.const 0) (i32.const 0)) (i32.const 105))
(assert_return (invoke "branches" (i32.const 1) (i32.const 0)) (i32.const 17))
(assert_return (invoke "branches" (i32.const 2) (i32.const 0)) (i32.const 7))
(assert_return (invoke "branches" (i32.const 4) (i32.const 0)) (i32.const 104))
(assert_return (invoke "branches" (i32.const 4) (i32.const 1)) (i32.const 101))
(assert_return (invoke "branches" (i32.const 4) (i32.const 2)) (i32.const 1))
(assert_return (invoke "branches" (i32.const 4) (i32.const 3)) (i32.const 3))
(assert_return (invoke "loops" (i32.const 10)) (i32.const 4))
(assert_return (invoke "loops" (i32.const 3000)) (i32.const 1001))
(assert_return (invoke "dead" (i32.const 0)) (i32.const 3))
(assert_return (invoke "dead_after" (i32.const 0)) (i32.const 8))
(assert_return (invoke "dead_handler") (i32.const 4))
(assert_trap (invoke "trap" (i32.const 0)) "integer divide by zero")
(assert_return (invoke "trap" (i32.const 1)) (i32.const 1))
(assert_trap (invoke "trap_here") "unreachable")

(assert_malformed (module (tag $a) (func try catch_all catch $a end)) "catch found outside of an `try` block")
(assert_malformed (module (func try catch_all catch_all end)) "catch_all found outside of a `try` block")
(assert_invalid (module (func (block (rethrow 0)))) "invalid rethrow label: target was not a `catch` block")
(assert_invalid (module (func try (rethrow 0) catch_all end)) "invalid rethrow label: target was not a `catch` block")
(assert_invalid (module (func try delegate 1)) "unknown label: branch depth too large")
(assert_invalid (module (func try catch 0 end)) "unknown tag 0: tag index out of bounds")
(assert_invalid (module (tag (param i32)) (func try catch 0 end)) "type mismatch: values remaining on stack at end of block")
(assert_invalid (module (func (result i32) try (result i32) (i32.const 1) catch_all end)) "type mismatch: expected i32 but nothing on stack")
