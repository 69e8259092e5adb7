"Loops on a GPU, in Triton: imported where a tensor on one asks for them"
