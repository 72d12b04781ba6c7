"""The batch norms of a module: which there are, whether they can be switched, and a copy in which all are alike."""

from __future__ import annotations

import copy

import torch
import torch.nn as nn

from .errors import ModelRefused

BatchNorm = nn.modules.batchnorm._BatchNorm
"""BatchNorm1d, 2d, 3d, SyncBatchNorm and what derives from them, such as timm's BatchNormAct2d."""

STATISTICS = ("running_mean", "running_var", "weight", "bias")


WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}


def batch_norms(model: nn.Module) -> dict[str, BatchNorm]:
    """Every batch norm by its module path, in the order of definition."""
    return {path: module for path, module in model.named_modules() if isinstance(module, BatchNorm)}


def prepared(model: nn.Module) -> nn.Module:
    """A copy on the CPU in which frozen batch norms are BatchNorm2d and every batch norm has gamma and beta (1 and 0
    where it had none). It computes what `model` computes. Raises ModelRefused for what cannot be switched."""
    require_module(model)
    require_evaluation_mode(model)
    plain = copy.deepcopy(model).cpu()
    _thaw(plain)
    _complete_affine(plain)
    _require_switchable(plain)
    for parameter in plain.parameters():
        parameter.requires_grad_(False)
    return plain


def require_module(model: nn.Module) -> None:
    """Raises ModelRefused for what is no module, is wrapped in one, or has no parameters yet."""
    if isinstance(model, torch.jit.ScriptModule) or not isinstance(model, nn.Module):
        raise ModelRefused(f"expected a torch.nn.Module, received {type(model).__name__}: give the module itself")
    wrapper = type(model).__name__
    if wrapper in WRAPPERS:
        raise ModelRefused(f"the model is wrapped in {wrapper}: give model.{WRAPPERS[wrapper]}")
    for path, module in model.named_modules():
        if any(nn.parameter.is_lazy(tensor) for tensor in [*module._parameters.values(), *module._buffers.values()]):
            raise ModelRefused(f'layer "{path}" has no parameters yet: call model(example) once before', path)


def require_evaluation_mode(model: nn.Module) -> None:
    """Raises ModelRefused for a module any part of which is in training mode."""
    if model.training:
        raise ModelRefused("the model is in training mode: call model.eval()")
    for path, module in model.named_modules():
        if module.training:
            raise ModelRefused(f'layer "{path}" is in training mode: call model.eval()', path)


def _is_frozen(module: nn.Module) -> bool:
    """A batch norm of constants that is none of torch.nn: torchvision's FrozenBatchNorm2d, detectron2's, timm's."""
    if isinstance(module, BatchNorm) or not isinstance(getattr(module, "eps", None), float):
        return False
    if "num_batches_tracked" in module._buffers or isinstance(module, nn.modules.instancenorm._InstanceNorm):
        return False
    held = {**module._parameters, **module._buffers}
    tensors = [held.get(name) for name in STATISTICS]
    return all(tensor is not None and tensor.dim() == 1 for tensor in tensors)


class ThawedBatchNorm2d(nn.BatchNorm2d):
    """The BatchNorm2d that a frozen one is, followed by what it did behind itself (timm's have an activation)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` is [N, C, H, W]."""
        x = super().forward(x)
        for child in self.children():
            x = child(x)
        return x


def _thaw(model: nn.Module) -> None:
    """Edits `model` in place."""
    for path, module in list(model.named_modules()):
        if not _is_frozen(module):
            continue
        if path == "":
            raise ModelRefused("the model is a single frozen batch norm: put it into a torch.nn.Sequential")
        thawed = ThawedBatchNorm2d(len(module.weight), eps=module.eps)
        with torch.no_grad():
            for name in STATISTICS:
                getattr(thawed, name).copy_(getattr(module, name))
        for name, child in module.named_children():
            thawed.add_module(name, child)
        model.set_submodule(path, thawed.eval())


def _complete_affine(model: nn.Module) -> None:
    """Edits `model` in place."""
    for module in batch_norms(model).values():
        if module.weight is None:
            module.weight = nn.Parameter(torch.ones(module.num_features))
        if module.bias is None:
            module.bias = nn.Parameter(torch.zeros(module.num_features))


def _require_switchable(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.instancenorm._InstanceNorm) and module.track_running_stats:
            raise ModelRefused(
                f'"{path}" is an InstanceNorm with running statistics, which computes what a batch norm does: replace '
                f"it by torch.nn.BatchNorm2d({module.num_features}) with the same statistics",
                path,
            )
    for path, tensor in model.named_parameters():
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ModelRefused(f'"{path}" is {tensor.dtype}, expected torch.float32: call model.float()', path)
    found = batch_norms(model)
    if not found:
        raise ModelRefused(
            "the model has no batch norm, so there is nothing to switch: export it with torch.onnx.export, and write "
            '"batchNorms": {"from": "inserted"} in its manifest to give it one behind every convolution'
        )
    for path, module in found.items():
        if module.running_mean is None or module.running_var is None:
            raise ModelRefused(
                f'batch norm "{path}" has no statistics of its own: make it with track_running_stats=True, and train '
                "its statistics",
                path,
            )
