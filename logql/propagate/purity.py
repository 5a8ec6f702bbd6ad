"""Whether running a piece of code twice, or only in a replay, could change anything but its own results."""

from __future__ import annotations

import ast
from collections.abc import Set

from logql.propagate.names import all_arguments, dotted, stored_names, uses_of


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Builtins whose call changes nothing.
PURE_BUILTINS = _words(
    "abs all any bin bool bytes callable chr complex dict divmod enumerate filter float format frozenset "
    "getattr hasattr hash hex id int isinstance issubclass len list map max min oct ord pow range repr "
    "reversed round set slice sorted str sum tuple type zip vars"
)
_ACTING = _words(
    "open input exec eval compile print setattr delattr next exit quit breakpoint globals locals "
    "__import__ memoryview iter super"
)
#: Methods that change their object or the world, whatever the object is.
MUTATORS = _words(
    "append extend insert remove pop popitem clear update setdefault sort reverse add discard write "
    "writelines read readline readlines send recv close flush seek truncate step backward zero_grad train "
    "eval cuda to_ load load_state_dict save save_pretrained push_to_hub fit partial_fit fit_transform "
    "register_buffer register_parameter register_forward_hook requires_grad_ manual_seed seed shuffle "
    "set_epoch add_scalar add_image add_histogram add_param_group put get_nowait acquire release start "
    "join kill terminate mkdir unlink rename rmdir makedirs synchronize_between_processes "
    "init_process_group barrier all_reduce broadcast set_device warning info debug error critical "
    "exception log_metric apply_ freeze unfreeze reset next __next__ setattr scale unscale_ prepare"
)
_ACTS = (
    ast.Await,
    ast.Yield,
    ast.YieldFrom,
    ast.Delete,
    ast.Global,
    ast.Nonlocal,
    ast.Raise,
    ast.Import,
    ast.ImportFrom,
)


def is_pure_expression(node: ast.AST) -> bool:
    """No call but of pure builtins and of plain reductions: evaluating it twice gives the same and changes nothing."""
    for inside in ast.walk(node):
        if isinstance(inside, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
            return False
        if isinstance(inside, ast.Call) and not _pure_call(inside):
            return False
    return True


def is_pure(node: ast.AST) -> bool:
    """A statement that calls nothing that might act, and changes nothing but its own names."""
    stored = (n for n in ast.walk(node) if isinstance(n, ast.Attribute | ast.Subscript))
    acts = any(isinstance(inside, _ACTS) for inside in ast.walk(node))
    return not acts and is_pure_expression(node) and all(isinstance(n.ctx, ast.Load) for n in stored)


def mode_of(node: ast.AST) -> tuple[tuple[str, ...], bool] | None:
    """What `model.eval()`, `model.train()` or `model.train(False)` sets, and whether to training."""
    call = node.value if isinstance(node, ast.Expr) else None
    path = dotted(call.func) if isinstance(call, ast.Call) else None
    if path is None or len(path) < 2 or path[-1] not in ("eval", "train") or call.keywords:  # type: ignore[union-attr]
        return None
    given = [getattr(part, "value", None) for part in call.args]  # type: ignore[union-attr]
    if given and (path[-1] == "eval" or given not in ([True], [False])):
        return None
    return path[:-1], path[-1] == "train" and given != [False]


def changed_names(node: ast.AST) -> set[str]:
    """Names of what a statement, its blocks included, puts something into: `found[key] = 1`, `found.append(1)`."""
    found = set()
    for inside in ast.walk(node):
        stores = isinstance(inside, ast.Attribute | ast.Subscript) and not isinstance(inside.ctx, ast.Load)
        method = inside.func if isinstance(inside, ast.Call) and isinstance(inside.func, ast.Attribute) else None
        if stores or (method is not None and method.attr in MUTATORS | _FILLING):
            found.add(root_name(inside))
    return {name for name in found if name is not None}


_REDUCTIONS = _words(
    "item mean sum std var min max norm abs sqrt exp log detach cpu float double numpy tolist get keys "
    "values items lower upper strip split startswith endswith format copy clone size dim numel argmax "
    "argmin all any square pow count index round clip clamp flatten reshape view astype squeeze unsqueeze "
    "item_ transpose get_last_lr parameters named_parameters state_dict"
)
_PURE_MODULES = frozenset(
    ("math", "np", "numpy", "torch", "F", "statistics", "jnp", "operator", "linalg", "functional")
)
_UNSAFE_FUNCTIONS = _words(
    "rand randn randint randperm normal uniform choice permutation shuffle seed manual_seed save load "
    "random bernoulli multinomial dropout dropout2d dropout3d alpha_dropout rand_like randn_like "
    "set_num_threads"
)


def _pure_call(call: ast.Call) -> bool:
    path = dotted(call.func)
    if path is not None and len(path) == 1:
        return path[0] in PURE_BUILTINS
    if path is not None and path[0] in _PURE_MODULES:
        return not any(part in _UNSAFE_FUNCTIONS or part.endswith("_") for part in path[1:])
    return isinstance(call.func, ast.Attribute) and call.func.attr in _REDUCTIONS


def is_quiet(node: ast.AST, *, allowed: frozenset[int] = frozenset()) -> bool:
    """Nothing in it is known to change state: what a replay may run beside the recorded code, which it checks besides.

    `allowed` holds ids of calls that do not count (log calls).
    """
    local = stored_names([node]) if isinstance(node, ast.stmt) else set()
    for inside in ast.walk(node):
        if isinstance(inside, _ACTS):
            return False
        if isinstance(inside, ast.Call) and id(inside) not in allowed and not _quiet_call(inside, local):
            return False
        if isinstance(inside, ast.Attribute | ast.Subscript) and not isinstance(inside.ctx, ast.Load):
            root = root_name(inside)
            if root is None or root not in local:
                return False
    return True


def _quiet_call(call: ast.Call, local: set[str]) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id not in _ACTING
    if isinstance(call.func, ast.Attribute):
        name = call.func.attr
        if isinstance(call.func.value, ast.Constant | ast.JoinedStr):
            return True
        if root_name(call.func) in local and isinstance(call.func.value, ast.Name):
            return True
        path = dotted(call.func)
        if path is not None and path[0] in (
            "os",
            "sys",
            "subprocess",
            "shutil",
            "random",
            "logging",
            "pickle",
            "wandb",
        ):
            return path[:2] in (("os", "path"), ("sys", "getsizeof"))
        return name not in MUTATORS and not (name.endswith("_") and not name.endswith("__"))
    return True


def may_swap(one: ast.AST, other: ast.AST) -> bool:
    """Whether two statements may change places: neither touches what the other reads, at most one acts on the world."""
    mine, theirs = uses_of(one), uses_of(other)
    if mine.writes & (theirs.reads | theirs.late | theirs.writes) or theirs.writes & (mine.reads | mine.late):
        return False
    if _leaves(one) or _leaves(other):
        return False
    if options_of(one) and options_of(other):
        return not set(options_of(one)) & set(options_of(other))
    if is_report(one) and is_report(other) and "log" in (_callee(one), _callee(other)):
        return _callee(one) != _callee(other) or _first_argument(one) != _first_argument(other)
    if (is_log(one) and _fills_other(other, mine.reads)) or (is_log(other) and _fills_other(one, theirs.reads)):
        return True
    if (is_log(one) and _saves(other) and not _reads_files(one)) or (
        is_log(other) and _saves(one) and not _reads_files(other)
    ):
        return True
    quiet_one = not _acts(one) or is_log(one)
    quiet_other = not _acts(other) or is_log(other)
    if quiet_one and quiet_other:
        return True
    return (quiet_one and is_constant(one)) or (quiet_other and is_constant(other))


_FILLING = frozenset(("append", "extend", "insert", "add", "update", "setdefault", "discard"))


def _fills_other(node: ast.AST, reads: Set[str]) -> bool:
    """`results.append(value)` and the like: changes one container, under a name that is not among `reads`."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or not _quiet_arguments(call):
        return False
    owner = call.func.value
    return call.func.attr in _FILLING and isinstance(owner, ast.Name) and owner.id not in reads


#: Calls that write a file and change nothing in the process.
_SAVING = _words(
    "torch.save np.save np.savez np.savez_compressed np.savetxt numpy.save json.dump pickle.dump yaml.dump"
)
_FILES = _words("os Path pathlib glob open shutil load exists stat st_size getsize")


def _saves(node: ast.AST) -> bool:
    """`torch.save(model.state_dict(), path)` and the like."""
    call = node.value if isinstance(node, ast.Expr) else None
    path = dotted(call.func) if isinstance(call, ast.Call) else None
    return path is not None and ".".join(path) in _SAVING and isinstance(call, ast.Call) and _quiet_arguments(call)


def _reads_files(node: ast.AST) -> bool:
    named = (inside.id for inside in ast.walk(node) if isinstance(inside, ast.Name))
    parts = (inside.attr for inside in ast.walk(node) if isinstance(inside, ast.Attribute))
    return not _FILES.isdisjoint((*named, *parts))


def changes(node: ast.AST, names: Set[str]) -> bool:
    """Whether a statement changes what one of the names holds: `names.extend(more)`, `names = sorted(names)`."""
    if uses_of(node).writes & uses_of(node).reads & names:
        return True
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in MUTATORS:
        return False
    return root_name(call.func.value) in names


def options_of(node: ast.AST) -> list[str]:
    """The options that `parser.add_argument("--lr", "-l", ...)` declares: their order matters in the help alone."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or _callee(node) != "add_argument" or not _quiet_arguments(call):
        return []
    names = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    kept = [name for name in names if isinstance(name, str) and name.startswith("-")]
    given = any(keyword.arg in ("dest", None) for keyword in call.keywords)
    return kept if len(kept) == len(call.args) and not given else []


_REPORTS = frozenset(("log", "print", "info", "debug", "warning", "add_scalar", "log_metric"))


def is_report(node: ast.AST) -> bool:
    """A call that only tells of values, such as a log call or a print: it changes none."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call) or not _quiet_arguments(node.value):
        return False
    return _callee(node) in _REPORTS


def is_log(node: ast.AST) -> bool:
    return is_report(node) and _callee(node) == "log"


def _quiet_arguments(call: ast.Call) -> bool:
    return all(is_quiet(argument) for argument in [*call.args, *[keyword.value for keyword in call.keywords]])


def _callee(node: ast.AST) -> str | None:
    call = node.value if isinstance(node, ast.Expr) else None
    path = dotted(call.func) if isinstance(call, ast.Call) else None
    return path[-1] if path else None


def _first_argument(node: ast.AST) -> str:
    call = node.value if isinstance(node, ast.Expr) else None
    return ast.dump(call.args[0]) if isinstance(call, ast.Call) and call.args else ""


def _acts(node: ast.AST) -> bool:
    """Whether a statement may change state: a call whose result is dropped is there for its effect."""
    return not is_quiet(node) or (isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant))


def is_constant(node: ast.AST) -> bool:
    """Reads nothing that another statement could change in place: only literals are assigned to names."""
    return isinstance(node, ast.Assign | ast.Pass) and not any(
        isinstance(inside, ast.Call | ast.Attribute | ast.Subscript) for inside in ast.walk(node)
    )


def _leaves(node: ast.AST) -> bool:
    jumps = (ast.Return, ast.Raise, ast.Break, ast.Continue)
    return any(isinstance(inside, jumps) for inside in ast.walk(node))


def root_name(node: ast.AST) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def is_pure_function(node: ast.FunctionDef | ast.AsyncFunctionDef, *, allowed: frozenset[int] = frozenset()) -> bool:
    """A function without effects but its result: no globals, no mutation of arguments, no acting calls."""
    if isinstance(node, ast.AsyncFunctionDef) or any(not _harmless_decorator(d) for d in node.decorator_list):
        return False
    local = stored_names(node.body) - {argument.arg for argument in all_arguments(node.args)}
    for inside in ast.walk(node):
        if isinstance(inside, (ast.Await, ast.Yield, ast.YieldFrom, ast.Global, ast.Nonlocal, ast.Delete)):
            return False
        if isinstance(inside, ast.Call) and id(inside) not in allowed and not _quiet_call(inside, local):
            return False
        stored = isinstance(inside, ast.Attribute | ast.Subscript) and not isinstance(inside.ctx, ast.Load)
        if stored and root_name(inside) not in local:
            return False
    return True


def _harmless_decorator(node: ast.expr) -> bool:
    path = dotted(node.func if isinstance(node, ast.Call) else node)
    return path is not None and path[-1] in ("no_grad", "inference_mode", "lru_cache", "cache", "wraps", "jit")
