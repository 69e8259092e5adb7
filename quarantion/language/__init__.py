"Texts to tokens, and to what comes next, in few bits"
from quarantion import _room

__all__ = _room(__name__, pieces='cut_text count_pieces', columns='column_of',
                texts='read_texts held_out',
                tokenizer='Tokenizer load_tokenizer save_tokenizer in_tokenizers', foreign='any_tokenizer',
                merge='train_tokenizer',
                basins='basins_of ppmi_vectors merged_basin',
                coherence='perplexity_per_byte distinct repetition adjacent_similarity',
                attention='attend', model='KernelLM small bits_per_byte',
                lessons='TextConfig learn_text go_on_learning',
                lowered='QuantLM lower_lm prove_lm', program='IntegerLM save_lm load_lm',
                sample='Sampler bigram_table sample_next continued',
                regime='integration regime_of',
                route='KeyGate LearnedGate Experts with_experts balance_loss')
