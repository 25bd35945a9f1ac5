# The tag that longjmp throws: the C library refers to it, the program has to define it.
	.globl	__c_longjmp
	.tagtype	__c_longjmp i32
__c_longjmp:
