;; Exports what it imports from the plug-in: `wasmc run --call 'roll 6'`.
(module
  (import "dice" "roll" (func $roll (param i32) (result i32)))
  (import "dice" "swap" (func $swap (param v128) (result v128)))
  (memory (export "memory") 1)
  (export "roll" (func $roll))
  (export "swap" (func $swap)))
